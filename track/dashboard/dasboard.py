"""The name under which the original system had the page."""

from track.dashboard.app import dashboard_app

__all__ = ["dashboard_app"]
