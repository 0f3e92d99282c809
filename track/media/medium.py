"""What was logged to be looked at, read back: images, histograms, texts, ... by name and step."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, NamedTuple, TypeVar

import msgspec

from track.artifacts import Artifact, artifacts_of
from track.errors import CorruptArtifact, InvalidCall, NotFound, missing_extra, suggestion
from track.media.tables import first_rows, rows_in
from track.media.texts import framed
from track.structure import Trial
from track.table import html_of

Found = TypeVar("Found")
_SHOWN = 12
_LONGEST = 2000
_ROWS = 20


class Histogram(NamedTuple):
    """How many values lie between which edges.

    Parameters
    ----------
    counts: list of int
    edges: list of float
        One more than there are counts.
    size: int
        How many values there were; of more than 100,000 the counts are those of a sample.
    """

    counts: list[Any]
    edges: list[float]
    size: int


@dataclass(frozen=True)
class Medium:
    """One image, figure, histogram, table, text, sound, video or page that a trial has logged.

    Parameters
    ----------
    name: str
    kind: str
        ``image``, ``figure``, ``histogram``, ``table``, ``text``, ``audio``, ``video`` or ``html``.
    step: any or None
    caption: str or None
    type: str
        Of its bytes, as in ``image/png``.
    facts: dict
        What else was said of it: width and height, rows and columns, rate and seconds.
    artifact: Artifact
        The content, where it is, and when it was logged.
    thumb: Artifact or None
        A small picture of a figure.
    """

    name: str
    kind: str
    step: Any
    caption: str | None
    type: str
    facts: dict[str, Any] = field(hash=False)
    artifact: Artifact = field(repr=False)
    thumb: Artifact | None = field(default=None, repr=False)

    @property
    def at(self) -> float:
        """When it was logged, unix seconds."""
        return self.artifact.at

    @property
    def size(self) -> int | None:
        """Bytes."""
        return self.artifact.size

    def open(self) -> BinaryIO:
        """Return the content to read; NotFound where it is not there."""
        return self.artifact.open()

    def read_bytes(self) -> bytes:
        """Return the content; NotFound where it is not there, CorruptArtifact where it is not what was logged."""
        return self.artifact.read_bytes()

    def download(self, target: str | os.PathLike[str] | None = None) -> str:
        """Write the content to a file, and return its path; see `Artifact.download`."""
        return self.artifact.download(target)

    @property
    def text(self) -> str:
        """The content of a text, a page, or anything else that is text, as SVG and JSON are."""
        try:
            return self.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise InvalidCall(f"{self.name!r} is no text, but {self.type}: read_bytes() returns it") from error

    @property
    def histogram(self) -> Histogram:
        """Counts and edges of a histogram; InvalidCall where it is none."""
        self._require("histogram")
        data = self.read_bytes()
        try:
            found = msgspec.json.decode(data, type=_Counted)
        except (ValueError, RecursionError) as error:
            raise CorruptArtifact(f"histogram {self.name!r} has no counts and edges: {error}") from error
        counts: list[Any] = list(found.counts)
        edges, size = found.edges, found.size
        if len(edges) == 2 and len(counts) > 1:
            low, high = edges
            edges = [low + (high - low) * place / len(counts) for place in range(len(counts))] + [high]
        if len(edges) != len(counts) + 1:
            raise CorruptArtifact(f"histogram {self.name!r} has {len(counts)} counts and {len(edges)} edges")
        return Histogram(counts, edges, sum(counts) if size is None else size)

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a table; InvalidCall where it is none."""
        return self._rows()[0]

    @property
    def rows(self) -> list[list[Any]]:
        """The rows of a table, each a list; InvalidCall where it is none."""
        return self._rows()[1]

    def to_pandas(self) -> Any:
        """Return a table as a data frame (the extra ``pandas``); InvalidCall where it is none."""
        self._require("table")
        try:
            import pandas as pd
        except ImportError as error:
            raise missing_extra("data frames need pandas", "pandas") from error
        columns, rows = self._rows()
        return pd.DataFrame(rows, columns=columns)

    def first_rows(self, most: int, wide: int = 1000) -> tuple[list[str], list[list[Any]], int]:
        """Return the columns and rows of a table to show, at most so many of both, and how many rows are left.

        Raises InvalidCall where it is none, CorruptArtifact where it cannot be read, or is too much to unpack.
        """
        return self._table(partial(first_rows, most=most, wide=wide))

    def _rows(self) -> tuple[list[str], list[list[Any]]]:
        return self._table(rows_in)

    def _table(self, read: Callable[[bytes, str], Found]) -> Found:
        self._require("table")
        data = self.read_bytes()
        try:
            return read(data, self.type)
        except (ValueError, RecursionError) as error:
            raise CorruptArtifact(f"table {self.name!r} cannot be read: {error}") from error

    def _require(self, kind: str) -> None:
        if self.kind != kind:
            raise InvalidCall(f"{self.name!r} is no {kind}, but {'an' if self.kind[0] in 'ai' else 'a'} {self.kind}")

    def _repr_html_(self) -> str:
        return html_of(lambda: _figure_of(self), self)


class Media(list[Medium]):
    """What a trial has logged to be looked at, in the order it was logged.

    A notebook shows the first and the last of them.
    """

    @property
    def steps(self) -> list[Any]:
        """The step of each."""
        return [medium.step for medium in self]

    def at_step(self, step: Any) -> Medium:
        """Return what was logged last at a step.

        Raises
        ------
        NotFound
            Nothing was.
        """
        found = [medium for medium in self if medium.step == step]
        if not found:
            raise NotFound(f"nothing was logged at step {step!r}: there are {self.steps[:5]} to {self.steps[-1:]}")
        return found[-1]

    def _repr_html_(self) -> str:
        return html_of(self._gallery, self)

    def _gallery(self) -> str:
        shown = list(self) if len(self) <= _SHOWN else [*self[: _SHOWN // 2], *self[-_SHOWN // 2 :]]
        left = len(self) - len(shown)
        more = f"<p>{left:,} more between them</p>" if left else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(map(_figure_of, shown))}</div>{more}'


class _Counted(msgspec.Struct):
    """What is stored of a histogram; of edges at equal distances the first and the last."""

    counts: list[int | float]
    edges: list[float]
    size: int | None = None


class _Said(msgspec.Struct):
    """What a manifest says of a medium: whoever writes to the store has said it."""

    kind: str
    type: str = "application/octet-stream"
    caption: str | None = None
    index: int = 0
    every: int = 1
    thumb: bool = False


_WORDS = frozenset(_Said.__struct_fields__)


def media_in(trial: Trial, name: str | None, lines: Iterable[Artifact] | None = None) -> Media:
    """Return what a trial has logged under a name, or all; NotFound where it has others, and none of this name."""
    found: list[Medium] = []
    thumbs: dict[tuple[str, int], Artifact] = {}
    places: list[tuple[str, int]] = []
    for artifact in artifacts_of(trial) if lines is None else lines:
        said = said_of(artifact.media)
        if said is None:
            continue
        if said.thumb:
            thumbs[artifact.name, said.index] = artifact
            continue
        facts = {word: value for word, value in (artifact.media or {}).items() if word not in _WORDS}
        found.append(Medium(artifact.name, said.kind, artifact.step, said.caption, said.type, facts, artifact))
        places.append((artifact.name, said.index))
    known = {medium.name for medium in found}
    if name is not None and known and name not in known:
        raise NotFound(f"trial {trial.name or trial.uid[:12]!r} has no media {name!r}{suggestion(name, known)}")
    whole = (_with_thumb(medium, thumbs.get(place)) for medium, place in zip(found, places, strict=True))
    return Media(medium for medium in whole if name is None or medium.name == name)


def said_of(media: Any) -> _Said | None:
    """Return what a manifest says of a medium; None for an artifact that is none."""
    if not isinstance(media, dict) or "kind" not in media:
        return None
    try:
        return msgspec.convert(media, _Said)
    except msgspec.ValidationError:
        return None


def plain_medium(medium: Medium) -> dict[str, Any]:
    """Return what is known of a medium as data: of a text, a histogram or a table that the record holds, itself too."""
    words = ("name", "kind", "step", "caption", "type", "size", "at")
    found = {word: getattr(medium, word) for word in words} | medium.facts | {"digest": medium.artifact.digest}
    return found | ({"content": medium.text} if medium.artifact.is_inline else {"uri": medium.artifact.uri})


def _with_thumb(medium: Medium, thumb: Artifact | None) -> Medium:
    fields = (medium.name, medium.kind, medium.step, medium.caption, medium.type, medium.facts, medium.artifact)
    return medium if thumb is None else Medium(*fields, thumb)


# for notebooks

_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"}


def _figure_of(medium: Medium) -> str:
    step = "" if medium.step is None else f", step {medium.step}"
    words = html.escape(f"{medium.name}{step}") + (f"<br>{html.escape(medium.caption)}" if medium.caption else "")
    try:
        inner = _inner(medium)
    except Exception as error:  # noqa: BLE001 - a notebook shows the others
        inner = f"<em>{html.escape(str(error))}</em>"
    return f'<figure style="margin:0">{inner}<figcaption>{words}</figcaption></figure>'


def _inner(medium: Medium) -> str:
    if medium.type in _IMAGES:
        # As an image no script in an SVG runs.
        return f'<img style="max-width:320px" src="{_address(medium.type, medium.artifact)}">'
    if medium.thumb is not None:
        return f'<img style="max-width:480px" src="{_address("image/svg+xml", medium.thumb)}">'
    if medium.kind == "histogram":
        return _bars(medium.histogram)
    if medium.kind == "table":
        return _table(medium)
    if medium.kind == "audio":
        return f'<audio controls src="{_address(medium.type, medium.artifact)}"></audio>'
    if medium.kind == "video":
        return f'<video controls style="max-width:320px" src="{_address(medium.type, medium.artifact)}"></video>'
    if medium.kind == "html":
        page = html.escape(framed(medium.text), quote=True)
        return f'<iframe sandbox="" style="width:480px;height:320px;border:1px solid #8888" srcdoc="{page}"></iframe>'
    if medium.kind == "text":
        text = medium.text
        return f"<pre>{html.escape(text[:_LONGEST])}{'…' if len(text) > _LONGEST else ''}</pre>"
    return f"<pre>{html.escape(medium.type)}, {medium.size or 0:,} bytes</pre>"


def _address(kind: str, content: Artifact) -> str:
    return f"data:{html.escape(kind, quote=True)};base64,{base64.b64encode(content.read_bytes()).decode()}"


def _bars(found: Histogram) -> str:
    most = max(found.counts, default=0) or 1
    heights = (round(60 * count / most, 1) for count in found.counts)
    width = 256 / max(1, len(found.counts))
    bars = "".join(
        f'<rect x="{place * width:.1f}" y="{60 - height}" width="{width:.1f}" height="{height}"/>'
        for place, height in enumerate(heights)
    )
    bounds = f"{found.edges[0]:.4g} … {found.edges[-1]:.4g}, {found.size:,} values" if found.edges else ""
    return f'<svg width="256" height="60" fill="currentColor">{bars}</svg><br><small>{html.escape(bounds)}</small>'


def _table(medium: Medium) -> str:
    columns, rows, left = medium.first_rows(_ROWS)
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    more = f"<p>{left:,} more rows</p>" if left else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"
