"""What is computed once for each object."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import track
from tests.children import fork, wait
from track.utils.once import cached_property


class _Asked:
    """Counts how often it is asked, and may wait for an answer."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.times, self.began, self._gate = 0, threading.Event(), gate

    @cached_property
    def answer(self) -> int:
        """The answer."""
        self.times += 1
        self.began.set()
        if self._gate is not None:
            self._gate.wait()
        return 42


def test_it_is_computed_once_for_each_object() -> None:
    """A second look computes nothing, and the class shows the property."""
    asked = _Asked()

    assert (asked.answer, asked.answer, asked.times) == (42, 42, 1)
    assert _Asked.answer.__doc__ == "The answer."


def test_process_forked_meanwhile_does_not_wait() -> None:
    """While a thread computes it, a forked child computes that of another object."""
    gate = threading.Event()
    slow = _Asked(gate)
    thread = threading.Thread(target=lambda: slow.answer)
    thread.start()
    slow.began.wait()

    try:
        assert wait(fork(lambda: _Asked().answer)) == 0
    finally:
        gate.set()
        thread.join()


def test_library_uses_no_other() -> None:
    """That of `functools` has a lock that a fork leaves taken, before Python 3.12."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in Path(track.__file__).parent.rglob("*.py")}

    assert [name for name, text in texts.items() if re.search(r"functools(\.| import .*)cached_property", text)] == []
