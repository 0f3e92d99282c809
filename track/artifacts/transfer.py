"""A bar on long transfers at a terminal (the extra ``progress``: tqdm)."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Advance = Callable[[int], Any]
"""Told how many bytes more were moved."""
_PATIENCE = 1.0
_SMALL = 8 << 20


@contextmanager
def progress(name: str, total: int) -> Iterator[Advance]:
    """Give what is to be told of each piece of a transfer.

    Parameters
    ----------
    name: str
        Shown in front of the bar.
    total: int
        Bytes of the whole transfer.
    """
    bar = _make_bar(name, total) if total >= _SMALL else None
    if bar is None:
        yield _ignore
        return
    try:
        yield bar.update
    finally:
        bar.close()


def _ignore(count: int) -> None:
    """Nobody looks."""


def _make_bar(name: str, total: int) -> Any:
    make = _terminal_bar()
    if make is None:
        return None
    return make(total=total, desc=name, unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=_PATIENCE)


def _terminal_bar() -> Callable[..., Any] | None:
    if not (sys.stderr and sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    bar: Callable[..., Any] = tqdm
    return bar


Item = TypeVar("Item")
Result = TypeVar("Result")
_BATCH = 512


def each(action: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield ``action(item)`` in the order of the items.

    Parameters
    ----------
    action: callable
        The first error ends it; what is going on at that time is waited for.
    items: iterable
    workers: int
        How many at a time, > 0; with 1 no thread is started.

    Examples
    --------
    >>> list(each(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers == 1:
        yield from map(action, items)
        return
    waiting = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="track-artifacts") as pool:
        while batch := list(itertools.islice(waiting, _BATCH)):
            futures = [pool.submit(action, item) for item in batch]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()
