"""The page: runs and their charts in a browser.

`app` answers requests, `questions` those about a store, `server` has a socket, `static` is the client. The names below
are imported when they are first used, so that `track ui` answers soon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from track.utils.lazy import names_from

if TYPE_CHECKING:
    from track.dashboard.app import Dashboard, dashboard_app
    from track.dashboard.notebook import show
    from track.dashboard.onefile import as_document
    from track.dashboard.running import Running
    from track.dashboard.security import new_token
    from track.dashboard.server import PageServer

__all__ = ["Dashboard", "PageServer", "Running", "as_document", "dashboard_app", "new_token", "show"]

__getattr__ = names_from(
    __name__,
    {
        "Dashboard": "app",
        "PageServer": "server",
        "Running": "running",
        "as_document": "onefile",
        "dashboard_app": "app",
        "new_token": "security",
        "show": "notebook",
    },
)
