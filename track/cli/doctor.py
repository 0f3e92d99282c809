"""``track doctor``: what may be wrong with a store, or with what this machine has of it."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import track
from track.cli.grid import cell, painted
from track.cli.shell import AWAY, NOTHING, code_of, complain, say, say_json, store_and_words, take_forms, take_words
from track.errors import TrackError
from track.persistence.delivery import leftovers, spill_folders
from track.persistence.protocol import Protocol
from track.persistence.utils import file_of, mask_secrets, store_path
from track.reading import open_stored

_DESCRIPTION = """
Looks at the store, its folder, the clock, what waits to be sent, and what is installed, and says what is wrong.
Nothing is written to the store.
"""
_EXTRAS = {
    "numpy": "faster reading of long runs",
    "pandas": "data frames",
    "pyarrow": "Arrow tables, track export --parquet",
    "rich": "reports as tables",
    "tensorboardX": "tensorboard: and track export --tensorboard",
    "psycopg2": "cockroach: and PostgreSQL",
    "pymongo": "mongodb:",
    "cryptography": "servers with security_layer=AES",
    "duckdb": "track sql",
}
_LITTLE, _SLOW, _APART = 100 * 2**20, 1.0, 2.0
_GOOD, _DOUBTFUL, _BAD = "ok", "look", "wrong"
_COLOURS = {_GOOD: "green", _DOUBTFUL: "yellow", _BAD: "red"}


class Finding(NamedTuple):
    """What was looked at, whether that is ``ok``, wants a ``look`` or is ``wrong``, and what it says."""

    name: str
    state: str
    text: str


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, "", most=0)
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Look, and return the exit code."""
    findings, is_away = list(_machine()), False
    try:
        uri, _ = store_and_words(arguments)
    except (TrackError, ValueError, OSError) as error:
        if arguments.words:
            complain(arguments.prog, error)
            return code_of(error)
        findings.append(Finding("store", _DOUBTFUL, "none is configured, and none was given"))
    else:
        try:
            findings += _store(uri)
        except (TrackError, OSError) as error:
            findings.append(Finding("store", _BAD, str(error)))
            is_away = True
    if arguments.json:
        say_json(findings=[one._asdict() for one in findings])
    else:
        width = max(len(one.name) for one in findings)
        for one in findings:
            say(f"{painted(one.state.ljust(5), _COLOURS[one.state])}  {one.name.ljust(width)}  {cell(one.text, 1000)}")
    return AWAY if is_away else NOTHING if any(one.state == _BAD for one in findings) else 0


def _machine() -> Iterator[Finding]:
    here = f"track {track.__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield Finding("versions", _GOOD, f"{here}, {os.path.dirname(track.__file__)}")
    there = [name for name in _EXTRAS if importlib.util.find_spec(name) is not None]
    missing = [f"{name} ({what})" for name, what in _EXTRAS.items() if name not in there]
    yield Finding("extras", _GOOD, f"{', '.join(there) or 'none'}; not installed: {', '.join(missing) or 'none'}")
    file = os.environ.get("TRACK_CONFIG") or ("track.config" if os.path.isfile("track.config") else "")
    yield Finding("settings", _GOOD if not file or os.path.isfile(file) else _BAD, file or "no track.config here")
    yield from _spills()


def _spills() -> Iterator[Finding]:
    waiting = 0
    for _, folder in spill_folders():
        waiting += sum(not one.is_alive() for one in leftovers(Path(folder)))
    text = f"{waiting} processes that are gone have left events: track sync sends them" if waiting else "nothing waits"
    yield Finding("spills", _DOUBTFUL if waiting else _GOOD, text)


def _store(uri: str) -> Iterator[Finding]:
    yield from _folder(uri)
    started = time.perf_counter()
    protocol = open_stored(uri)
    try:
        trials = protocol.brief_trials()
        took = time.perf_counter() - started
        text = f"{mask_secrets(uri)}: {len(trials):,} trials, listed in {took:.2f} s"
        yield Finding("store", _GOOD, text)
        yield from _answers(protocol)
    finally:
        protocol.close()


def _folder(uri: str) -> Iterator[Finding]:
    if file_of(uri) is None:
        return
    folder = os.path.dirname(os.path.realpath(store_path(uri)))
    can = os.access(folder, os.W_OK | os.X_OK)
    yield Finding("folder", _GOOD if can else _DOUBTFUL, f"{folder} {'can' if can else 'cannot'} be written to")
    if not os.path.isdir(folder):
        return
    free = shutil.disk_usage(folder).free
    yield Finding("disk", _GOOD if free > _LITTLE else _BAD, f"{free / 2**30:,.1f} GiB free")
    if can:
        yield _clock_of(folder)


def _clock_of(folder: str) -> Finding:
    """Compare the clock of a file system with ours: on a network they may be apart."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".track-doctor-") as file:
            file.write(b"x")
            file.flush()
            apart = abs(os.stat(file.name).st_mtime - time.time())
    except OSError as error:
        return Finding("clock", _DOUBTFUL, f"no file can be made in {folder}: {error}")
    return Finding("clock", _GOOD if apart < _APART else _BAD, f"that of the disk and ours are {apart:.2f} s apart")


def _answers(protocol: Protocol) -> Iterator[Finding]:
    started = time.perf_counter()
    cursor, _ = protocol.changes()
    protocol.changes(cursor)
    took = (time.perf_counter() - started) / 2
    yield Finding("round trip", _GOOD if took < _SLOW else _DOUBTFUL, f"{took * 1000:.1f} ms")
    told = protocol.store_time() if protocol.server is not None else None
    if told is not None:
        apart = abs(told - time.time())
        text = f"that of the server and ours are {apart:.1f} s apart"
        yield Finding("server's clock", _GOOD if apart < _APART else _BAD, text)
    left = protocol.left_behind()
    text = f"{left:,} events of processes that are gone are not in it yet: track sync sends them"
    yield Finding("left behind", _DOUBTFUL if left else _GOOD, text if left else "nothing")
    unread = protocol.unread()
    yield Finding("unreadable", _BAD if unread else _GOOD, "; ".join(map(str, unread)) or "nothing")
    try:
        protocol.check_writable()
    except (TrackError, OSError) as error:
        yield Finding("writing", _DOUBTFUL, str(error))
    else:
        yield Finding("writing", _GOOD, "it can be written to")
