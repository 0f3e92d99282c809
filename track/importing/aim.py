"""aim: the folder ``.aim``, which only its own package can read: from a copy, for it writes what it has not indexed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from track.errors import MissingExtra, NothingThere
from track.importing.files import Folder
from track.importing.report import Report
from track.importing.runs import Run, Taking
from track.plain import to_plain
from track.structure import Status

_OTHERS = ("images", "texts", "distributions", "audios", "figures")
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
        repo = Repo(copy)
        repo._recreate_index()
        root = os.path.basename(os.path.dirname(own))
        for _, digest in sorted((_created(repo, digest), digest) for digest in repo.list_all_runs()):
            yield _run(repo, digest, root)
        repo.close()


def _copy(folder: Folder, target: str) -> None:
    for name in folder.files():
        to = os.path.join(target, name)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with folder.open(name) as source, open(to, "wb") as file:
            shutil.copyfileobj(source, file)
    for below in ("meta/chunks", "seqs/chunks", "meta/index"):
        os.makedirs(os.path.join(target, below), exist_ok=True)


def _created(repo: Any, digest: str) -> float:
    from aim import Run as AimRun

    return float(AimRun(digest, repo=repo, read_only=True).creation_time)


def _run(repo: Any, digest: str, root: str) -> Run:
    from aim import Run as AimRun

    run = AimRun(digest, repo=repo, read_only=True)
    project = run.experiment if run.experiment and run.experiment != "default" else root

    def read(taking: Taking) -> None:
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
        for kind, sequences in run.collect_sequence_info(_OTHERS).items():
            for sequence in sequences:
                if kind in ("images", "texts"):
                    _tell_shown(run, kind, sequence["name"], sequence["context"], taking)
                else:
                    taking.leave(kind.removesuffix("s"), "has no place here yet", str(sequence.get("name")))
        if run.end_time is None:
            taking.leave("status", _STILL)
        taking.ended(Status.Broken if run.end_time is None else Status.Completed, run.end_time)

    # The name that aim makes up says less than the hash.
    name = None if str(run.name) == f"Run: {digest}" else str(run.name)
    return Run(digest, str(run.end_time), read, float(run.creation_time), name, project, None, run.description or None)


def _tell_shown(run: Any, kind: str, name: str, context: dict[str, Any], taking: Taking) -> None:
    """Tell images or texts of one name, several of one step by their number."""
    from aim.storage.context import Context  # type: ignore[import-not-found, import-untyped, unused-ignore]

    found = (run.get_image_sequence if kind == "images" else run.get_text_sequence)(name, Context(context))
    for step, (shown, *_) in found.data.items():
        items = shown if isinstance(shown, list) else [shown]
        for number, item in enumerate(items):
            called = f"{_name(name, context)}/{step}{'' if len(items) == 1 else f'-{number}'}"
            if kind == "texts":
                taking.file(f"{called}.txt", str(item.data).encode(), step, {"kind": "text"})
                continue
            media = {"kind": "image"} | ({"caption": str(item.caption)[:1000]} if item.caption else {})
            taking.file(f"{called}.{item.format or 'png'}", bytes(item.storage["data"]), step, media)


def _name(name: str, context: dict[str, Any]) -> str:
    called = f"system/{name.removeprefix(_SYSTEM)}" if name.startswith(_SYSTEM) else name
    if set(context) == {"subset"}:
        return f"{context['subset']}/{called}"
    said = ", ".join(f"{key}={value}" for key, value in sorted(context.items()))
    return f"{called} {{{said}}}" if said else called
