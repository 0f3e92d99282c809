"""``track show``: all that is known of a trial, but for its points."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from track.aggregators.aggregator import Aggregator
from track.briefs import SYSTEM
from track.cli.grid import Column, age, cell, column_of, duration, painted, sparkline, table, terminal_width
from track.cli.shell import on_store, say, say_json, take_forms, take_words
from track.front import PEAK, Alert, alerts_in, alerts_told
from track.naming import WAYS, named, owners_of
from track.persistence.protocol import Protocol
from track.plain import flatten
from track.reading import environment_in
from track.rows import Row, make_rows, of_training
from track.shown import clean, text_of
from track.structure import Status
from track.table import HIDDEN_METADATA, files_and_media, time_cell
from track.utils.environment import command_line

_DESCRIPTION = """
Shows a trial: how it ended and why, its parameters, what its metrics come to, times, files, and where it ran.
"""
_TICKS = 24
_CAPTURED = ("stdout", "stderr")


def add_parser(verbs: Any, name: str) -> None:
    """Add the command to the parser of the program."""
    parser = verbs.add_parser(name, description=_DESCRIPTION)
    parser.set_defaults(run=run)
    take_words(parser, f"the trial: {WAYS}", least=1, most=1)
    take_forms(parser, is_list=False)


def run(arguments: argparse.Namespace) -> int:
    """Show a trial, and return the exit code."""
    return on_store(arguments, partial(_show, arguments))


def row_of(protocol: Protocol, name: str) -> Row:
    """Return the row of the trial that is meant."""
    return make_rows([named(protocol, name, in_brief=True)], partial(owners_of(protocol), "group_id"))[0]


def _show(given: argparse.Namespace, protocol: Protocol, uri: str, words: list[str]) -> int:
    row = row_of(protocol, words[0])
    where = environment_in(protocol, row.trial)
    if given.json:
        say_json(trial=_document(row, where))
        return 0
    state = painted(str(row.trial.status), "red" if row.error else None)
    say(f"{painted(cell(row.label or 'a trial', 200), 'bold')}  {state}  {row.uid}")
    _say_pairs("", _facts(row))
    _say_pairs("alerts", _alerts(row.trial.metadata))
    if row.trial.errors:
        _say_block("error", text_of(row.trial.errors[-1]))
    _say_pairs("parameters", row.parameters.items())
    _say_metrics(protocol, row)
    _say_system(row)
    _say_pairs("times", ((name, time_cell(one)) for name, one in row.trial.chronos.items()))
    files, media = files_and_media(row.trial.artifacts)
    _say_pairs("files", ((record["name"], f"{record['size'] or '?'} bytes") for record in files))
    _say_pairs("media", media.items())
    _say_pairs("metadata", _metadata(row).items())
    _say_pairs("where", _place(where))
    return 0


def _facts(row: Row) -> list[tuple[str, Any]]:
    trial = row.trial
    facts = [("project", trial.project_id), ("group", row.group), ("parent", _parent(row))]
    if row.created is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.created))
        facts.append(("created", f"{at} ({age(row.value('age'))}{'' if age(row.value('age')) == 'now' else ' ago'})"))
    facts.append(("ran", duration(row.seconds)))
    if trial.status is Status.Broken and not trial.errors and "finished" not in trial.timestamps:
        facts.append(("ended", "without a word: its process was killed, or its machine is gone"))
    tags = ", ".join(name if value is True else f"{name}={value}" for name, value in row.tags.items())
    return [*facts, ("tags", tags), ("about", trial.description)]


def _parent(row: Row) -> Any:
    return row.trial.metadata.get("parent") if isinstance(row.trial.metadata, dict) else None


def _metadata(row: Row) -> dict[str, Any]:
    """Return what the program has noted, without what stores keep for themselves, and what was printed."""
    hidden = {*HIDDEN_METADATA, *_CAPTURED, "parent"}
    noted = row.trial.metadata if isinstance(row.trial.metadata, Mapping) else {}
    return flatten({name: value for name, value in noted.items() if name not in hidden})


def _place(where: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return where a trial ran, in lines."""
    git = where.get("git")
    facts = [(name, where.get(name)) for name in ("host", "user", "python", "folder")]
    if isinstance(git, Mapping):
        facts.append(("git", code_of(git)))
    facts.append(("command", command_line(where)))
    gpus = where.get("gpus")
    facts.append(("gpus", ", ".join(map(str, gpus.get("names") or [])) if isinstance(gpus, Mapping) else None))
    packages = where.get("packages")
    return [*facts, ("packages", f"{len(packages)}, with their versions: --json" if packages else None)]


def code_of(git: Mapping[str, Any]) -> str:
    """Return the commit, the branch, and whether a file was changed since, in a line."""
    commit = str(git.get("commit") or "?")[:10]
    branch = f" ({git['branch']})" if git.get("branch") else ""
    return f"{commit}{branch}{' + changes' if git.get('is_dirty') else ''}"


def _document(row: Row, where: Mapping[str, Any]) -> dict[str, Any]:
    trial = row.trial
    times = {name: _short(one) for name, one in trial.chronos.items()}
    return row.to_json() | {
        "description": trial.description,
        "errors": list(map(text_of, trial.errors)),
        "version": trial.version,
        "attempt": trial.attempt,
        "metadata": _metadata(row),
        "alerts": [alert._asdict() for alert in alerts_in(trial.metadata)],
        "alerts_told": alerts_told(trial.metadata),
        "times": times,
        "files": list(trial.artifacts),
        "environment": dict(where),
    }


def _short(container: Any) -> Any:
    return container.to_json(short=True) if isinstance(container, Aggregator) else container


# printing


def _say_pairs(title: str, pairs: Iterable[tuple[str, Any]]) -> None:
    shown = [(cell(name), cell(value, 100)) for name, value in pairs if value not in (None, "")]
    if not shown:
        return
    if title:
        say(f"\n{painted(title, 'bold')}")
    lines, _ = table(
        [Column("", [name for name, _ in shown]), Column("", [one for _, one in shown], least=20)], _room()
    )
    say("\n".join(f"  {line}" for line in lines[1:]))


def _room() -> int | None:
    width = terminal_width()
    return None if width is None else max(20, width - 2)


def _say_block(title: str, text: str) -> None:
    say(f"\n{painted(title, 'bold')}")
    for line in text.splitlines():
        say(painted(f"  {clean(line)}", "red"))


def _alerts(metadata: Any) -> Iterator[tuple[str, str]]:
    kept = alerts_in(metadata)
    left = alerts_told(metadata) - len(kept)
    if left:
        yield f"{left:,} earlier", "not kept"
    yield from map(_alert, kept)


def _alert(alert: Alert) -> tuple[str, str]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(alert.at))
    return f"{at} {alert.level}", f"{alert.title}{f': {alert.text}' if alert.text else ''}"


def _say_metrics(protocol: Protocol, row: Row) -> None:
    names = of_training(row.metrics)
    if not names:
        return
    say(f"\n{painted('metrics', 'bold')}")
    lines, _ = table(metric_columns(protocol, row, names), _room())
    say("\n".join(f"  {line}" for line in lines))


def _say_system(row: Row) -> None:
    """Print what the machine did: of each number the last and least mean of a tick, and the greatest of all."""
    briefs = {name: brief for name, brief in row.metrics.items() if name.startswith(SYSTEM)}
    means = {name: brief for name, brief in briefs.items() if name.removesuffix(PEAK) not in briefs.keys() - {name}}
    if not means:
        return
    say(f"\n{painted('system', 'bold')}")
    columns = [
        Column("NAME", [cell(name) for name in means], least=8),
        column_of("LAST", [brief.last for brief in means.values()]),
        column_of("MIN", [brief.least for brief in means.values()]),
        column_of("PEAK", [briefs.get(f"{name}{PEAK}", brief).greatest for name, brief in means.items()]),
        Column("TICKS", [f"{brief.count:,}" for brief in means.values()], is_number=True),
    ]
    say("\n".join(f"  {line}" for line in table(columns, _room())[0]))


def metric_columns(protocol: Protocol, row: Row, names: Sequence[str]) -> list[Column]:
    """Return the columns of a table of what the metrics of a trial come to, with their courses."""
    briefs = [row.metrics[name] for name in names]
    curves = []
    for name, brief in zip(names, briefs, strict=True):
        found = protocol.fetch_buckets([row.uid], name, _TICKS, "relative") if brief.count > 1 else {}
        curves.append(sparkline(map(float, found[row.uid].mean)) if row.uid in found else "")
    return [
        Column("NAME", [cell(name) for name in names], least=8),
        column_of("LAST", [brief.last for brief in briefs]),
        column_of("MIN", [brief.least for brief in briefs]),
        column_of("AT", [brief.least_step for brief in briefs], extra=1),
        column_of("MAX", [brief.greatest for brief in briefs]),
        column_of("AT", [brief.greatest_step for brief in briefs], extra=1),
        Column("POINTS", [f"{brief.count:,}" for brief in briefs], is_number=True),
        *([Column("", curves, extra=1)] if any(curves) else []),
    ]
