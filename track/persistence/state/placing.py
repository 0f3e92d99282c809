"""Points on their way out of memory: to the points file of a snapshot that is being written, or one without a name."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import Any

from track.aggregators.aggregator import TimeSeriesAggregator
from track.containers import chunks
from track.containers.chunks import ChunkFile, DamagedChunk, Named, StoredChunk, make_chunk, sum_of_head
from track.containers.points import Points
from track.containers.series import Series
from track.containers.stored import Stored
from track.metrics import Metrics, container_to_plain
from track.persistence.contract import new_identity
from track.persistence.state.apply import is_end
from track.persistence.state.outside import PointsFiles, points_files
from track.persistence.state.state import State
from track.plain import text_keys
from track.shown import shown
from track.structure import Trial
from track.utils.files import require_alike

FROM = 100_000
"""Points in a store from which on they leave its JSON file."""
SMALLEST = 64
"""Points of a metric that are worth a chunk."""


def place(  # noqa: PLR0917 - called in two places
    trial: str,
    metric: str,
    points: Points,
    target: ChunkFile,
    kept: Collection[ChunkFile],
    has_ended: bool = False,
) -> Points:
    """Return points of which the first are in chunks of some files; the same object where they are already.

    Those that come to a quarter of what is there, or fill a chunk, are written to the target; so a metric that grows
    little by little has few chunks, and few points beside them. Of a trial that has ended no more will come, mostly,
    and a shorter last chunk is worth it.

    `kept`: files whose chunks stay where they are; others are copied.
    """
    points.settle()
    stored = points.stored
    there = list(stored.chunks) if stored is not None else []
    found = _moved(there, target, kept)
    is_new = found != there
    position, first, size = sum(chunk.named.points for chunk in found), 0, points.tail
    step, value, at = points.step, points.value, points.at
    while size - first >= max(SMALLEST, 0 if has_ended else min(chunks.LARGEST, position // 4)):
        end = first + min(chunks.LARGEST, size - first)
        columns = None if step is None else step.cut(first, end), value.cut(first, end), at.cut(first, end)
        data, head = make_chunk(trial, metric, position, columns)
        named = Named(target.number, target.append(data), len(data), head.count, sum_of_head(data))
        found.append(StoredChunk(target, named, head))
        position, first, is_new = position + head.count, end, True
    if not is_new:
        return points
    view = points.view()
    view.placed(Stored(trial, metric, found), first)
    return view


def _moved(there: list[StoredChunk], target: ChunkFile, kept: Collection[ChunkFile]) -> list[StoredChunk]:
    """Return chunks of which those that do not stay are in the target, short ones that are neighbours as one."""
    found: list[StoredChunk] = []
    waiting: list[StoredChunk] = []
    for chunk in there:
        stays = chunk.file in kept or chunk.is_lost
        if waiting and (stays or not _fits(waiting, chunk)):
            found.append(_copied(waiting, target))
            waiting = []
        (found if stays else waiting).append(chunk)
    return [*found, _copied(waiting, target)] if waiting else found


def _fits(waiting: list[StoredChunk], chunk: StoredChunk) -> bool:
    """Return whether a chunk may be one with some before it: there is room, and all of them have steps, or none has."""
    size = sum(one.named.points for one in waiting) + chunk.named.points
    if size > chunks.LARGEST:
        return False
    return (waiting[0].head().columns[0] is None) == (chunk.head().columns[0] is None)


def _copied(together: list[StoredChunk], target: ChunkFile) -> StoredChunk:
    if len(together) == 1:
        (chunk,) = together
        data, head = chunk.data(), chunk.head()
    else:
        first = together[0].head()
        step, value, at = together[0].columns()
        for chunk in together[1:]:
            more = chunk.columns()
            if step is not None and more[0] is not None:
                step.extend(more[0])
            value.extend(more[1])
            at.extend(more[2])
        data, head = make_chunk(first.trial, first.metric, first.position, (step, value, at))
    named = Named(target.number, target.append(data), len(data), head.count, sum_of_head(data))
    return StoredChunk(target, named, head)


def containers(trial: Trial) -> Iterator[tuple[str, Any]]:
    """Yield the metrics of a trial that are made of points, which may be outside."""
    for name, container in trial.metrics.items():
        if type(container) is Series or (type(container) is TimeSeriesAggregator and not _has_pairs(container.points)):
            yield name, container


def _has_pairs(points: Points) -> bool:
    """Return whether there are values with a step among values without one, as earlier versions had them."""
    column = points.value
    odd = column._odd.values() if column._type is not None else column._data
    return any(isinstance(value, tuple) for value in odd)


def move(container: Any, placed: Points) -> None:
    """Let a container go on from where its points are now."""
    points = container.points
    if placed is not points:
        points.placed(placed.stored, points.tail - placed.tail)


def count_points(trial: Trial) -> int:
    """Return how many points a trial has, or a few more."""
    metrics = trial.metrics
    if isinstance(metrics, Metrics) and not metrics.is_loaded:
        return sum(brief.count for brief in metrics.briefs().values())
    return sum(len(container.points) for container in metrics.values() if hasattr(container, "points"))


class Placing:
    """What a snapshot that is being written does with points: it puts them into a file, and names them.

    Parameters
    ----------
    files: PointsFiles
        Those of the snapshot.
    is_copy: bool
        Whether it is another store's, whose trials stay as they are.
    """

    def __init__(self, files: PointsFiles, is_copy: bool = False) -> None:
        self._files = files
        self.is_copy = is_copy
        self._target = files.target()
        self._kept = files.kept()

    @property
    def store(self) -> str:
        """The id of the store whose points these are."""
        return self._files.stores[0]

    def metrics_of(self, trial: Trial) -> dict[str, Any]:
        """Return the metrics of a trial as data, in which chunks are named."""
        plain = {}
        outside, has_ended = dict(containers(trial)), is_end(trial.status)
        for name, container in text_keys(trial.metrics.items()).items():
            if name not in outside:
                plain[name] = container_to_plain(container)
                continue
            placed = place(trial.uid, name, container.points, self._target, self._kept, has_ended)
            if not self.is_copy:
                move(container, placed)
            plain[name] = {"dtype": "steps" if type(container) is Series else container.kind} | placed.tail_to_plain()
        return plain

    def finish(self) -> list[tuple[int, int]]:
        """Return the number and size of each file, all of which is on the disk now."""
        self._files.flush()
        return self._files.named()


def placing_of(storage: State) -> Placing | None:
    """Return where points go that do not stay in the store's own snapshot; None while it has few.

    Raises PermissionError: the snapshot, or its points, would not be its owner's and group's any more.
    """
    files = storage.outside
    files.stores = [storage.identity, *storage.former]
    if not files.is_used:
        sizes = _count(storage)
        if sum(sizes.values()) < FROM:
            return None
        # What they are stored as is of before.
        storage.changed.update(uid for uid, size in sizes.items() if size >= SMALLEST)
    if os.path.exists(files.path):
        require_alike(files.path)
    if files.are_gone():
        storage.changed.update(storage.trials)
    return Placing(files)


def _count(storage: State) -> dict[str, int]:
    sizes = storage.sizes
    for uid, trial in storage._trials.items():
        if uid in storage.changed or uid not in sizes:
            sizes[uid] = count_points(trial)
    return sizes


def place_for(storage: State, seconds: float) -> bool:
    """Put points where those of the store's snapshot go, for so long, and return whether all are there."""
    placing, end = placing_of(storage), time.monotonic() + seconds
    if placing is None:
        return True
    for uid in list(storage.changed):
        if _is_in_memory(trial := storage._trials[uid]):
            placing.metrics_of(trial)
        if time.monotonic() > end:
            return False
    return True


def spill(storage: State) -> None:
    """Move points that were replayed out of memory, to a file without a name."""
    files = storage.outside
    scratch = files.scratch()
    kept = [scratch, *files.files.values()]
    for uid in storage.changed:
        if _is_in_memory(trial := storage._trials[uid]):
            for name, container in containers(trial):
                move(container, place(uid, name, container.points, scratch, kept))


def _is_in_memory(trial: Trial) -> bool:
    return isinstance(trial.metrics, Metrics) and trial.metrics.is_loaded


def gather(storage: State) -> list[str]:
    """Let the next snapshot have all points in a file of its own, and return the files that nobody needs then."""
    files = storage.outside
    if not files.is_used:
        return []
    old = points_files(files.path)
    files.begin_again()
    storage.changed.update(storage.trials)
    return old


def placing_in_copy(path: str, storage: State) -> Placing | None:
    """Return where points go that do not stay in a copy of a state; None where there are few."""
    if sum(_count(storage).values()) < FROM:
        return None
    files = PointsFiles(path, (), [new_identity()])
    files.begin_again()
    return Placing(files, is_copy=True)


# what cannot be read


def lacking_points(storage: State) -> str:
    """Return what a person must know of points that a snapshot names and that are not there; '' where all are."""
    files = storage.outside
    if not files.lacking:
        return ""
    lost: dict[str, int] = {}
    for trial in storage._trials.values():
        for name, container in containers(trial):
            stored = container.points.stored
            count = sum(chunk.named.points for chunk in stored.chunks if chunk.is_lost) if stored is not None else 0
            if count:
                lost[name] = lost.get(name, 0) + count
    metrics = ", ".join(f"{count:,} of {shown(name)}" for name, count in lost.items())
    names = ", ".join(files.name(number) for number in sorted(files.lacking))
    return (
        f"{files.path} names points that are not there: {names} is missing, was cut short, or is another store's; "
        f"{sum(lost.values()):,} points are not shown ({metrics}); put the file back that was beside it, and they are"
    )


def unread_points(storage: State) -> list[str]:
    """Return the chunks of the points files that cannot be read, by their places."""
    found = []
    for trial in storage._trials.values():
        for name, container in containers(trial):
            stored = container.points.stored
            for chunk in stored.chunks if stored is not None else ():
                try:
                    chunk.data()
                except DamagedChunk as error:
                    place = f"{chunk.file.path}: the chunk at byte {chunk.named.offset}"
                    found.append(f"{place}, of metric {shown(name)} of trial {trial.uid}: {error}")
    return found
