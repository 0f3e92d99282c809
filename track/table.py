"""Trials as tables: the lines that a person reads, and HTML for notebooks, which needs and runs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

from track.aggregators.aggregator import Aggregator, TimeSeriesAggregator
from track.briefs import LastValue
from track.containers.series import Series
from track.plain import flatten, printable
from track.shown import cut, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN_METADATA = frozenset(
    {
        "_update_count",
        "heartbeat",
        "_last_change",
        "_environment",
        "_output",
        "_output_line",
        "_alerts",
        "_alerts_told",
        "_import",
    }
)
"""What stores keep for themselves."""
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_MOST_ROWS = 20
_MOST_COLUMNS = 12
_LONGEST_CELL = 200


def report_rows(trial: Any, unread: str = "") -> list[tuple[str, str, str]]:
    """Return the lines of a trial's table: section, name and value; a section is named in its first line.

    `unread`: what of the trial was not read.
    """
    sections = [("status", [("", text_of(trial.status.name))])]
    if trial.description:
        sections.append(("description", [("", text_of(trial.description))]))
    for section in ("tags", "parameters", "metadata"):
        hidden = HIDDEN_METADATA if section == "metadata" else ()
        cells = [(text_of(name), _cell(value)) for name, value in _items(getattr(trial, section)) if name not in hidden]
        sections.append((section, cells))
    sections.append(("metrics", [(name, metric_cell(container)) for name, container in trial.metrics.items()]))
    times = sorted(trial.chronos.items(), key=lambda item: item[0] != "runtime")
    sections.append(("chronos", [(name, time_cell(container)) for name, container in times]))
    files, media = files_and_media(trial.artifacts)
    sections.append(("artifacts", [(record["name"], _size_cell(record["size"])) for record in files]))
    sections.append(("media", [(name, count) for name, count in media.items()]))
    sections.append(("errors", [("", text_of(error)) for error in trial.errors]))
    sections.append(("not read", [("", unread)] if unread else []))
    return [
        ("" if place else section, name, value)
        for section, cells in sections
        for place, (name, value) in enumerate(cells)
    ]


def metric_cell(container: Any) -> str:
    """Return a metric in a line: the last of many, and how many there are."""
    if isinstance(container, Series) and container:
        points = container.points
        points.settle()
        return f"{_cell(container.last())} at {text_of(points.step_at(len(points) - 1))} ({len(container):,} steps)"
    if isinstance(container, TimeSeriesAggregator) and container:
        last = _cell(container.last())
        return last if len(container) == 1 else f"{last} (last of {len(container):,})"
    if isinstance(container, LastValue):
        place = "" if container.step is None else f" at {text_of(container.step)}"
        return f"{_cell(container.value)}{place} (last of many)"
    return _cell(container)


def _items(values: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(values, dict):
        return values.items()
    return [("", values)] if values else []


def _summary(value: Any) -> Any:
    return printable(value.to_json(short=True) if isinstance(value, Aggregator) else value)


def _cell(value: Any) -> str:
    shown = _summary(value)
    return f"{shown:.6g}" if isinstance(shown, float) else text_of(shown)


def time_cell(container: Any) -> str:
    """Return a time, or what many times come to, in a line.

    Examples
    --------
    >>> time_cell(0.0031), time_cell(723.25), time_cell({"avg": 0.00016, "sd": 0.00083, "count": 109})
    ('3.1 ms', '723.2 s', '160 ± 830 µs, 109 times')
    """
    value = _summary(container)
    if isinstance(value, dict) and value.get("count") is not None:
        parts = (value["avg"], value["sd"])
        if not all(isinstance(part, (int, float)) for part in parts):
            return f"{_cell(parts[0])} ± {_cell(parts[1])} s, {value['count']} times"
        size, unit = _unit(parts[0])
        return f"{_short(parts[0] / size)} ± {_short(parts[1] / size)} {unit}, {value['count']} times"
    if not isinstance(value, float):
        return _cell(value)
    size, unit = _unit(value)
    return f"{_short(value / size)} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit in which a time is read, and how many seconds it has."""
    return next((one for one in _UNITS if abs(seconds) >= one[0]), (1.0, "s"))


def _short(number: float) -> str:
    return f"{number:.4g}" if abs(number) < 10_000 else f"{number:.0f}"


def files_and_media(lines: Iterable[Any]) -> tuple[list[Any], dict[str, str]]:
    """Return the files of a manifest, and, in words, how many media there are of each name."""
    files: list[Any] = []
    counts: dict[str, list[Any]] = {}
    for line in lines:
        media = line.get("media") if isinstance(line, dict) else None
        if not isinstance(media, dict) or "kind" not in media or "index" not in media:
            files.append(line)
        elif not media.get("thumb"):
            counts.setdefault(text_of(line.get("name")), [media["kind"], 0])[1] += 1
    return files, {name: f"{count:,} x {text_of(kind)}" for name, (kind, count) in counts.items()}


def _size_cell(size: int | None) -> str:
    return f"{'?' if size is None else f'{size:,}'} bytes"


# for notebooks


def trial_html(trial: Any, unread: str = "") -> str:
    """Return what a report shows of a trial as a table of HTML; `unread`: what of it was not read."""
    caption = f"{text_of(trial.name or trial.uid[:12])}, revision {trial.revision}"
    return _html(caption, ("", "name", "value"), report_rows(trial, unread))


def trials_html(trials: Sequence[Any]) -> str:
    """Return a row a trial, of the first 20: name, status, parameters and the last value of each metric."""
    rows = [_row(trial) for trial in islice(trials, _MOST_ROWS)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    caption = "1 trial" if len(trials) == 1 else f"{len(trials):,} trials"
    if len(trials) > _MOST_ROWS:
        caption += f", the first {_MOST_ROWS} of them"
    if len(columns) > _MOST_COLUMNS:
        caption += f"; {len(columns) - _MOST_COLUMNS} more columns are left out"
    columns = columns[:_MOST_COLUMNS]
    return _html(caption, columns, ([row.get(name, "") for name in columns] for row in rows))


def html_of(make: Callable[[], str], otherwise: Any) -> str:
    """Return the HTML that `make` returns; where that fails, as when a server is away, the `repr` of `otherwise`."""
    try:
        return make()
    except Exception:  # noqa: BLE001 - to be looked at must not stop anything
        return f"<pre>{escape(repr(otherwise))}</pre>"


def _row(trial: Any) -> dict[str, str]:
    row = {"name": text_of(trial.name or trial.uid[:12]), "status": text_of(trial.status)}
    parameters = trial.parameters if isinstance(trial.parameters, dict) else {}
    row |= {name: _cell(value) for name, value in flatten(parameters).items()}
    return row | {name: metric_cell(container) for name, container in trial.metrics.items()}


def _html(caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_escaped(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{_escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return escape(cut(text, _LONGEST_CELL))
