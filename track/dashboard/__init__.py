"""The page: runs and their charts in a browser.

`app` answers requests, `server` has a socket, and `static` is the client.
"""

from track.dashboard.app import Dashboard, dashboard_app

__all__ = ["Dashboard", "dashboard_app"]
