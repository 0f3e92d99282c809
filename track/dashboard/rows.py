"""Runs as rows of the page's table, and a run as its own page: plain data of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from track.briefs import Brief
from track.dashboard.answers import plain_number
from track.plain import flatten, printable
from track.rows import Row
from track.seeds import is_seed
from track.shown import cut, text_of
from track.structure import Trial
from track.table import HIDDEN_METADATA, time_cell
from track.utils.environment import ENVIRONMENT, command_line

NOTE = "note"
"""The name in a trial's metadata of what a person has noted about it."""
_LONGEST_NAME = 300
_LONGEST_VALUE = 500
_LONGEST_TEXT = 200_000
_MOST_FIELDS = 1000

Plain = dict[str, Any]
Names = Callable[[Any], str]
"""Returns the name of a group by its uid."""


FACTS = (
    "uid",
    "name",
    "revision",
    "project",
    "group",
    "status",
    "code",
    "created",
    "started",
    "finished",
    "error",
    "parent",
)
"""What the table knows of every run, in the order of `Kept.facts`."""


class Kept(NamedTuple):
    """A run as a table of thousands keeps it: nothing is made of a cell before it is sent."""

    facts: tuple[Any, ...]
    parameters: Plain
    tags: Plain
    metrics: Mapping[str, Brief]

    @property
    def uid(self) -> str:
        """Whose it is."""
        return str(self.facts[0])

    @property
    def created(self) -> float:
        """When it was, in unix seconds."""
        return float(self.facts[FACTS.index("created")] or 0)

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as is known."""
        return (self.facts[FACTS.index("code")] or 0) // 100 == 1


def kept_of(trial: Trial, group_name: Names) -> Kept:
    """Return what the table shows of a trial."""
    return _kept(Row(trial), group_name)


def _kept(row: Row, group_name: Names) -> Kept:
    trial = row.trial
    times = trial.timestamps
    facts = (
        trial.uid,
        cut(text_of(trial.name or ""), _LONGEST_NAME),
        trial.revision,
        None if trial.project_id is None else cut(text_of(trial.project_id), _LONGEST_NAME),
        None if trial.group_id is None else cut(group_name(trial.group_id), _LONGEST_NAME),
        text_of(trial.status),
        getattr(trial.status, "value", None),
        times.get("created"),
        times.get("started"),
        times.get("finished"),
        cut(row.error, _LONGEST_VALUE) if row.error else None,
        trial.metadata.get("parent") if isinstance(trial.metadata, dict) else None,
    )
    tags = flatten(row.tags) if isinstance(row.tags, dict) else {"": row.tags} if row.tags else {}
    return Kept(facts, *(_first(part) for part in (row.parameters, tags, row.metrics)))


def _first(values: Mapping[str, Any]) -> Any:
    return values if len(values) <= _MOST_FIELDS else dict(islice(values.items(), _MOST_FIELDS))


def row_of(trial: Trial, group_name: Names) -> Plain:
    """Return what is in the row of a trial, and where its least and greatest values were."""
    row = Row(trial)
    kept = _kept(row, group_name)
    return {
        **dict(zip(FACTS, kept.facts, strict=True)),
        "tags": _flat_cells(kept.tags),
        "parameters": _flat_cells(kept.parameters),
        "seeds": [name_of(name) for name in kept.parameters if is_seed_name(name)],
        "metrics": _metrics(kept.metrics),
    }


def page_of(trial: Trial, group_name: Names, environment: dict[str, Any]) -> Plain:
    """Return what a trial's own page shows."""
    # Only for a page of one run, and only then imported.
    from track.dashboard.media import listed
    from track.front import alerts_in, alerts_told

    metadata = trial.metadata if isinstance(trial.metadata, dict) else {}
    hidden = {*HIDDEN_METADATA, ENVIRONMENT, "stdout", "stderr", NOTE}
    packages = environment.get("packages")
    command = {"command": command_line(environment)} if environment.get("argv") else {}
    places = {name: value for name, value in environment.items() if name not in ("packages", "argv")}
    alerts, (media, media_left) = alerts_in(metadata), listed(trial)
    return {
        "row": row_of(trial, group_name),
        "version": text_of(trial.version or ""),
        "description": cut(text_of(trial.description or ""), _LONGEST_TEXT),
        "note": cut(text_of(metadata.get(NOTE) or ""), _LONGEST_TEXT),
        "metadata": _cells({name: value for name, value in metadata.items() if name not in hidden}),
        "environment": _cells(command | places),
        "packages": {str(name): str(version) for name, version in packages.items()} if packages else {},
        "output": _end(_printed(metadata)),
        "alerts": [alert._asdict() for alert in alerts],
        "left": {"alerts": alerts_told(metadata) - len(alerts), "media": media_left},
        "errors": [cut(text_of(error), _LONGEST_TEXT) for error in trial.errors],
        "times": {cut(name, _LONGEST_NAME): time_cell(container) for name, container in trial.chronos.items()},
        "artifacts": [_artifact(record) for record in islice(_files(trial), _MOST_FIELDS)],
        "media": media,
    }


def _files(trial: Trial) -> Iterator[dict[str, Any]]:
    """Yield what a trial's manifest says of files; what is looked at is listed by itself."""
    from track.media import said_of

    return (record for record in trial.artifacts if isinstance(record, dict) and said_of(record.get("media")) is None)


def _artifact(record: dict[str, Any]) -> Plain:
    return {
        "name": cut(text_of(record.get("name")), _LONGEST_NAME),
        "size": record.get("size"),
        "digest": record.get("digest"),
        "kind": _kind(record),
        "step": plain_number(record.get("step")),
    }


def _kind(record: dict[str, Any]) -> str:
    """Return whether an artifact is a file, a folder, or only a name of data elsewhere."""
    from track.artifacts import Artifact

    said = Artifact("", str(record.get("uri")), str(record.get("digest")), None, 0.0, "")
    return "elsewhere" if said.is_reference else "folder" if said.is_directory else "file"


def _metrics(briefs: Mapping[str, Brief]) -> dict[str, list[Any]]:
    """Return last, least, greatest, count, and the steps of the three, by metric."""
    found = {}
    for name, brief in briefs.items():
        numbers = (brief.last, brief.least, brief.greatest, brief.count)
        steps = (brief.last_step, brief.least_step, brief.greatest_step)
        found[name_of(name)] = [value_of(number) for number in (*numbers, *steps)]
    return found


def _cells(values: Any) -> Plain:
    """Return values by dotted name."""
    if not isinstance(values, dict):
        return {"": value_of(values)} if values else {}
    return _flat_cells(flatten(values))


def _flat_cells(flat: Mapping[str, Any]) -> Plain:
    if len(flat) > _MOST_FIELDS:
        flat = dict(islice(flat.items(), _MOST_FIELDS))
    return {name_of(name): value_of(value) for name, value in flat.items()}


@lru_cache(10_000)
def name_of(name: Any) -> str:
    """Return a name as it is shown."""
    return cut(text_of(name), _LONGEST_NAME)


is_seed_name = lru_cache(10_000)(is_seed)


def value_of(value: Any) -> Any:
    """Return a value as JSON and a browser have it, and no longer than a cell."""
    if type(value) is float and value - value == 0:
        # Finite, as most are: of many runs there are millions.
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return plain_number(value)
    return cut(value if isinstance(value, str) else text_of(printable(value)), _LONGEST_VALUE)


def _printed(metadata: Plain) -> str:
    """Return the output that is kept: line by line while a trial lives, of earlier versions that of its end."""
    from track.front import pieces_of

    lines = []
    for _, lost, kept in pieces_of(metadata):
        lines += [f"... {lost:,} lines were too many"] if lost else []
        lines += [text_of(line[-1]) for line in kept]
    return "\n".join(lines or [text_of(metadata[name]) for name in ("stdout", "stderr") if metadata.get(name)])


def _end(text: str) -> str:
    """Return the end of a text: what was printed last says most."""
    return text if len(text) <= _LONGEST_TEXT else f"...{text[-_LONGEST_TEXT:]}"
