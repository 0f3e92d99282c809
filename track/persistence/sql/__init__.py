"""Trials in a SQL database: tables, transactions, queries."""

from __future__ import annotations

from track.persistence.sql.database import Database, Driver, Outcome, Row
from track.persistence.sql.protocol import SqlProtocol

__all__ = [
    "Database",
    "Driver",
    "Outcome",
    "Row",
    "SqlProtocol",
]
