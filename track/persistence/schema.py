"""The tables of a SQL store, and how an old store becomes a new one: numbered steps, a transaction each."""

from __future__ import annotations

__all__ = ["MIGRATIONS", "VERSION"]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE writers (writer TEXT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)",
        """CREATE TABLE projects (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, document TEXT NOT NULL)""",
        """CREATE TABLE trial_groups (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL, project_id TEXT, document TEXT NOT NULL)""",
        """CREATE TABLE members (
            trial_group TEXT NOT NULL, trial TEXT NOT NULL, position BIGINT NOT NULL,
            PRIMARY KEY (trial_group, trial))""",
        """CREATE TABLE trials (
            uid TEXT NOT NULL PRIMARY KEY, position BIGINT NOT NULL UNIQUE, hash TEXT NOT NULL,
            revision BIGINT NOT NULL, name TEXT, version TEXT, project_id TEXT, group_id TEXT,
            status TEXT, status_code BIGINT, points BIGINT NOT NULL, document TEXT NOT NULL,
            UNIQUE (hash, revision))""",
        """CREATE TABLE parameters (
            trial BIGINT NOT NULL, name TEXT NOT NULL, number DOUBLE PRECISION, text TEXT,
            PRIMARY KEY (trial, name))""",
        "CREATE INDEX parameters_number ON parameters (name, number)",
        """CREATE TABLE series (
            trial BIGINT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, spec TEXT, last DOUBLE PRECISION,
            stepped BIGINT NOT NULL,
            PRIMARY KEY (trial, kind, name))""",
        """CREATE TABLE metrics (
            trial BIGINT NOT NULL, name TEXT NOT NULL, seq BIGINT NOT NULL, step BIGINT,
            value DOUBLE PRECISION, at DOUBLE PRECISION NOT NULL, odd TEXT,
            PRIMARY KEY (trial, name, seq))""",
        """CREATE TABLE times (
            trial BIGINT NOT NULL, name TEXT NOT NULL, seq BIGINT NOT NULL,
            value DOUBLE PRECISION, at DOUBLE PRECISION NOT NULL, odd TEXT,
            PRIMARY KEY (trial, name, seq))""",
    ),
)
"""Statements of each step, oldest first; a released step is never changed."""

VERSION = len(MIGRATIONS)
"""The version of the tables that this version of the library writes."""
