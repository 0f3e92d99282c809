"""``track export``: trials in files of other programs."""

from __future__ import annotations

import argparse
import math
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, TextIO

from track.artifacts import artifacts_in
from track.cli.ls import selected
from track.cli.shell import NOTHING, as_json, csv_cell, csv_writer, harmless_rows, on_store, say_json, take_words, tell
from track.errors import InvalidCall, TrackError
from track.filters import parse_filter
from track.lake import add_to_lake, is_lake
from track.media import Medium, media_in, plain_medium, type_of_image
from track.objectstore import object_store
from track.persistence.protocol import Protocol
from track.persistence.utils import mask_secrets
from track.plain import printable
from track.pointtable import import_parquet, write_points
from track.rows import Row
from track.structure import Trial
from track.table import HIDDEN_METADATA

_DESCRIPTION = """
Writes trials, or those that FILTER chooses, with all of their points. A file is there once it is whole; one that is
there already is replaced. OUT may be - for standard output, of --csv, --jsonl and --html.
"""
_SHOWN = ("image/png", "image/jpeg", "image/gif")
_FORMS = {
    "csv": "a line a point: uid, name, metric, step, value, time",
    "jsonl": "a document a trial in each line, as track ls --json has it, with its points",
    "html": "one file under 5 MB with table, charts, comparison and each run's page, which any browser opens",
    "parquet": "a file *.parquet, a table of points; else a folder, or s3://..., to which what is new is added (extra "
    "pyarrow); DuckDB, Spark, polars and pandas read both",
    "tensorboard": "a folder of event files, one a trial, with its images, texts, histograms and sounds (extra "
    "tensorboard); those that are there are left alone",
}


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, "which trials, as track ls takes it", "FILTER")
    forms = parser.add_mutually_exclusive_group(required=True)
    for form, text in _FORMS.items():
        forms.add_argument(f"--{form}", metavar="OUT", help=text)
    parser.add_argument(
        "--since",
        metavar="CURSOR",
        help="of a folder of --parquet: what the last export there said (default: that one)",
    )
    parser.add_argument("--json", action="store_true", help="say as one document of JSON what was written")


def run(arguments: argparse.Namespace) -> int:
    """Export, and return the exit code."""
    return on_store(arguments, partial(_export, arguments))


def _export(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    rows, total, _ = selected(protocol, parse_filter(words))
    form = next(form for form in _FORMS if getattr(given, form) is not None)
    out = getattr(given, form)
    if out == "-" and form in ("parquet", "tensorboard"):
        raise InvalidCall(f"--{form} takes the path of a {'file' if form == 'parquet' else 'folder'}")
    is_folder = form == "parquet" and is_lake(out)
    if given.since is not None and not is_folder:
        raise InvalidCall("--since goes with --parquet FOLDER, to which what is new is added")
    if is_folder:
        return _add(given, protocol, uri, rows, out)
    if out == "-" and given.json:
        raise InvalidCall(f"--json goes to standard output, as --{form} - does: give the path of a file")
    left = _WRITERS[form](protocol, rows, out)
    if given.json:
        document = {"form": form, "out": out, "written": len(rows) - left, "left": left, "total": total}
        say_json(uri=mask_secrets(uri), **document)
        return 0 if rows else NOTHING
    trials = "1 trial" if len(rows) - left == 1 else f"{len(rows) - left:,} trials"
    tell(f"{trials} of {total:,} written to {'standard output' if out == '-' else out}")
    if left:
        tell(f"{left:,} were there already")
    return 0 if rows else NOTHING


def _add(given: argparse.Namespace, protocol: Protocol, uri: str, rows: Sequence[Row], out: str) -> int:
    """Add what is new to a folder of Parquet files."""
    added = add_to_lake(protocol, rows, object_store(out), given.since)
    if given.json:
        say_json(uri=mask_secrets(uri), form="parquet", out=mask_secrets(out), **added._asdict())
        return 0 if rows else NOTHING
    things = {"trial": added.trials, "point": added.points, "file": added.files}
    trials, points, files = (f"{count:,} {noun}{'' if count == 1 else 's'}" for noun, count in things.items())
    tell(f"{trials} with {points} added to {mask_secrets(out)}, in {files}")
    tell(f"cursor {added.cursor}: the same again adds what comes after it")
    return 0 if rows else NOTHING


def _points(protocol: Protocol, row: Row) -> Iterator[tuple[str, Sequence[Any], Sequence[Any], Sequence[float]]]:
    """Return steps, values and times of each metric; one that keeps no points has its value."""
    found = protocol.fetch_points(row.uid)
    for name, brief in row.metrics.items():
        points = found.get(name)
        yield (name, *points[:3]) if points is not None else (name, [None], [brief.last], [0.0])


@contextmanager
def _whole(out: str) -> Iterator[TextIO]:
    """Give a file that takes the place of `out` once the block is done; standard output for ``-``."""
    if out == "-":
        yield sys.stdout
        return
    path = f"{out}.{secrets.token_hex(4)}.part"
    try:
        with open(path, "x", encoding="utf-8", newline="") as file:
            yield file
        os.replace(path, out)
    except BaseException:
        if os.path.exists(path):
            os.unlink(path)
        raise


def _to_csv(protocol: Protocol, rows: Sequence[Row], out: str) -> int:
    lines = chain([("uid", "name", "metric", "step", "value", "time")], _lines(protocol, rows))
    with _whole(out) as file:
        csv_writer(file).writerows(harmless_rows(lines) if out == "-" else lines)
    return 0


def _lines(protocol: Protocol, rows: Sequence[Row]) -> Iterator[Sequence[Any]]:
    """Yield a line for each point."""
    for row in rows:
        for name, steps, values, times in _points(protocol, row):
            for step, value, at in zip(steps, values, times, strict=True):
                yield row.uid, row.trial.name, name, csv_cell(step), csv_cell(value), at or ""


def _to_jsonl(protocol: Protocol, rows: Sequence[Row], out: str) -> int:
    with _whole(out) as file:
        for row in rows:
            points = {
                name: {"steps": list(steps), "values": list(values), "times": [at or None for at in times]}
                | _special(values)
                for name, steps, values, times in _points(protocol, row)
            }
            metadata = {name: one for name, one in row.trial.metadata.items() if name not in HIDDEN_METADATA}
            said = {"metadata": printable(metadata), "points": points}
            media = [plain_medium(medium) for medium in media_in(row.trial, None)]
            file.write(as_json(row.to_json() | said | ({"media": media} if media else {})) + "\n")
    return 0


def _special(values: Sequence[Any]) -> dict[str, Any]:
    """Return which values are null in JSON because they are not finite."""
    found = {
        str(place): str(value)
        for place, value in enumerate(values)
        if isinstance(value, float) and not math.isfinite(value)
    }
    return {"special": found} if found else {}


def _to_html(protocol: Protocol, rows: Sequence[Row], out: str) -> int:
    from track.dashboard import as_document

    made = as_document(protocol, [row.trial for row in rows])
    with _whole(out) as file:
        file.write(made.html)
    tell(made.note)
    return len(rows) - made.runs


def _to_parquet(protocol: Protocol, rows: Sequence[Row], out: str) -> int:
    import_parquet()
    trials = (trial for row in rows for trial in protocol.fetch_trials({"uid": row.uid}))
    with _whole(out) as file:
        write_points(trials, file.buffer)
    return 0


def _to_tensorboard(protocol: Protocol, rows: Sequence[Row], out: str) -> int:
    from track.persistence.tensorboard import TensorBoardProtocol, run_name

    sink = TensorBoardProtocol(f"tensorboard:{os.path.abspath(out)}")
    left = 0
    for row in rows:
        if os.path.isdir(os.path.join(sink.folder, run_name(row.trial))):
            left += 1
            continue
        sink.export(row.trial, _points(protocol, row), _media(protocol, row.trial))
    return left


def _media(protocol: Protocol, trial: Trial) -> Iterator[tuple[Medium, Any]]:
    """Yield what TensorBoard shows, with its content, and say what it shows not, or what is not there."""
    left: dict[tuple[str, str], int] = {}
    for medium in media_in(trial, None, artifacts_in(protocol, trial)):
        try:
            content = _content(medium)
        except (TrackError, OSError) as error:
            tell(f"{medium.kind} {medium.name!r} is left out: {error}")
            continue
        if content is None:
            left[medium.kind, medium.name] = left.get((medium.kind, medium.name), 0) + 1
        else:
            yield medium, content
    for (kind, name), count in left.items():
        tell(
            f"{count:,} of {kind} {name!r} left out: TensorBoard shows PNG, JPEG and GIF, sounds, texts and histograms"
        )


def _content(medium: Medium) -> Any:
    match medium.kind:
        case "text":
            return medium.text
        case "histogram":
            return medium.histogram
        case "image" | "video" if type_of_image(data := medium.read_bytes()) in _SHOWN:
            return data
        case "audio":
            return medium.read_bytes()
    return None


_WRITERS = {
    "csv": _to_csv,
    "jsonl": _to_jsonl,
    "html": _to_html,
    "parquet": _to_parquet,
    "tensorboard": _to_tensorboard,
}
