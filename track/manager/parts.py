"""What looks at sets without changing them, for those who look at many: conditions, rows, tables."""

from __future__ import annotations

from track.manager.conditions import MESSAGES, Conditions
from track.manager.finding import (
    SPECIAL,
    SPECIAL_OF_DEFAULTS,
    SPECIAL_OF_SETS,
    KnownSet,
    Row,
    row_of_folder,
)
from track.manager.members import matching as matching_names
from track.manager.sets import FILES
from track.manager.tables import ALL, Shown, columns_of

__all__ = [
    "ALL", "FILES", "MESSAGES", "SPECIAL", "SPECIAL_OF_DEFAULTS", "SPECIAL_OF_SETS", "Conditions", "KnownSet", "Row",
    "Shown", "columns_of", "matching_names", "row_of_folder",
]  # fmt: skip
