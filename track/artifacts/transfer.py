"""A bar on long transfers at a terminal (the extra ``progress``: tqdm)."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_BATCH = 512
Advance = Callable[[int], Any]
"""Told how many bytes more were moved."""
_PATIENCE = 1.0
_SMALL = 8 << 20


@contextmanager
def progress(name: str, total: int) -> Iterator[Advance]:
    """Give what is to be told of each piece of a transfer of so many bytes; the name is shown in front of the bar."""
    make_bar = _terminal_bar() if total >= _SMALL else None
    if make_bar is None:
        yield ignore
        return
    shown = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "leave": False, "delay": _PATIENCE}
    bar = make_bar(total=total, desc=name, **shown)
    try:
        yield bar.update
    finally:
        bar.close()


def ignore(count: int) -> None:
    """Take no notice: nobody looks, or the bytes are counted elsewhere."""


def _terminal_bar() -> Callable[..., Any] | None:
    if not (sys.stderr and sys.stderr.isatty()):
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    bar: Callable[..., Any] = tqdm
    return bar


def each(action: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield ``action(item)`` in the order of the items, by so many threads (1 starts none); the first error ends it."""
    if workers == 1:
        yield from map(action, items)
        return
    # To import it changes what a fork of the program does.
    from concurrent.futures import ThreadPoolExecutor

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
