"""The name under which the original system had the page."""

from track.dashboard import app

dashboard_app = app.dashboard_app
"""The page of the configured store."""
