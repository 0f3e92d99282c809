"""aim: the folder ``.aim``, which only its own package can read: from a copy, for it writes what it has not indexed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from track.errors import InvalidEvent, MissingExtra, NothingThere
from track.importing.files import Folder
from track.importing.media import counted
from track.importing.report import Report
from track.importing.runs import UNREADABLE, Run, Taking
from track.plain import to_plain
from track.structure import Status

_OTHERS = {
    "images": "get_image_sequence",
    "texts": "get_text_sequence",
    "distributions": "get_distribution_sequence",
    "audios": "get_audio_sequence",
    "figures": "get_figure_sequence",
}
_KINDS = {"images": "image", "texts": "text", "distributions": "histogram", "audios": "audio", "figures": "figure"}
_SYSTEM = "__system__"
_STILL = "was running when it was read, or was killed: it counts as broken"


def runs(path: str, report: Report) -> Iterator[Run]:
    """Yield the runs of a folder that has ``.aim``.

    Raises MissingExtra: the package aim is not installed.
    """
    try:
        from aim import Repo  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingExtra(
            "reading the runs of aim needs its own package: pip install aim (Python 3.12 at most)"
        ) from error
    own = path if os.path.basename(path) == ".aim" else os.path.join(path, ".aim")
    if not os.path.isdir(own) or os.path.islink(own):
        raise NothingThere(f"{path} has no folder .aim")
    with tempfile.TemporaryDirectory(prefix="track-aim-") as copy:
        _copy(Folder(own, report), os.path.join(copy, ".aim"))
        with _damage():
            repo = Repo(copy)
            repo._recreate_index()
            digests = repo.list_all_runs()
        root = os.path.basename(os.path.dirname(own))
        found = []
        for digest in digests:
            try:
                with _damage():
                    found.append(_run(repo, digest, root))
            except UNREADABLE as error:
                report.damage("a run cannot be read", f"{digest}: {error}")
        yield from sorted(found, key=lambda run: (run.created, run.key))
        with suppress(*UNREADABLE), _damage():
            repo.close()


@contextmanager
def _damage() -> Iterator[None]:
    """Say what its package raises, and its databases, in a way that is expected of a reader."""
    try:
        yield
    except UNREADABLE:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _copy(folder: Folder, target: str) -> None:
    for name in folder.files():
        to = os.path.join(target, name)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with folder.open(name) as source, open(to, "wb") as file:
            shutil.copyfileobj(source, file)
    for below in ("meta/chunks", "seqs/chunks", "meta/index"):
        os.makedirs(os.path.join(target, below), exist_ok=True)


def _run(repo: Any, digest: str, root: str) -> Run:
    from aim import Run as AimRun

    run = AimRun(digest, repo=repo, read_only=True)
    project = run.experiment if run.experiment and run.experiment != "default" else root

    def read(taking: Taking) -> None:
        with _damage():
            tell(taking)

    def tell(taking: Taking) -> None:
        try:
            found = to_plain(run[...])
        except KeyError:
            found = {}
        if isinstance(found, dict):
            system = found.pop("__system_params", None)
            taking.parameters(found)
            taking.metadata({"aim": system} if system else {})
        taking.tags(dict.fromkeys(map(str, run.tags), True))
        for metric in run.metrics():
            steps, columns = metric.data.numpy()
            named = dict(zip(("value", "epoch", "time"), columns, strict=False))
            taking.series(_name(metric.name, metric.context.to_dict()), named["value"], steps, named.get("time"))
            epochs = named.get("epoch")
            if epochs is not None and (epochs == epochs).any():
                taking.leave("epoch", "is no part of a point here", metric.name, len(epochs))
        for kind, sequences in run.collect_sequence_info(tuple(_OTHERS)).items():
            for sequence in sequences:
                _tell_media(run, kind, sequence["name"], sequence["context"], taking)
        if run.end_time is None:
            taking.leave("status", _STILL)
        taking.ended(Status.Broken if run.end_time is None else Status.Completed, run.end_time)

    # The name that aim makes up says less than the hash.
    name = None if str(run.name) == f"Run: {digest}" else str(run.name)
    return Run(digest, str(run.end_time), read, float(run.creation_time), name, project, None, run.description or None)


def _tell_media(run: Any, kind: str, name: str, context: dict[str, Any], taking: Taking) -> None:
    """Tell images, texts, ... of one name; several of one step have their number, too."""
    from aim.storage.context import Context  # type: ignore[import-not-found, import-untyped, unused-ignore]

    what, method, called = _KINDS[kind], _OTHERS[kind], _name(name, context)
    for step, (shown, *_) in getattr(run, method)(name, Context(context)).data.items():
        items = shown if isinstance(shown, list) else [shown]
        for number, item in enumerate(items):
            given = called if len(items) == 1 else f"{called}/{number}"
            try:
                taking.medium(what, given, _content(what, item), step, getattr(item, "caption", None))
            except InvalidEvent as error:
                taking.leave(what, "has no counts between rising edges", f"{given}: {error}")


def _content(what: str, item: Any) -> Any:
    if what == "text":
        return str(item.data)
    if what == "histogram":
        edges = item.ranges.tolist()
        return counted(edges[:-1], edges[1:], item.weights.tolist())
    data = item.data if what == "figure" else item.storage["data"]
    return data.encode() if isinstance(data, str) else bytes(data)


def _name(name: str, context: dict[str, Any]) -> str:
    called = f"system/{name.removeprefix(_SYSTEM)}" if name.startswith(_SYSTEM) else name
    if set(context) == {"subset"}:
        return f"{context['subset']}/{called}"
    said = ", ".join(f"{key}={value}" for key, value in sorted(context.items()))
    return f"{called} {{{said}}}" if said else called
