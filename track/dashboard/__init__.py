"""The page: runs and their charts in a browser.

`app` answers requests, `server` has a socket, and `static` is the client.
"""

from track.dashboard.app import Dashboard, dashboard_app
from track.dashboard.notebook import show
from track.dashboard.onefile import as_document
from track.dashboard.security import new_token
from track.dashboard.server import PageServer

__all__ = ["Dashboard", "PageServer", "as_document", "dashboard_app", "new_token", "show"]
