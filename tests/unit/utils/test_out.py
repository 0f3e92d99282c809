"""RingOutputDecorator: a stream whose end is kept."""

from __future__ import annotations

import contextlib
import copy
import io

import pytest

from track.utils.out import RingOutputDecorator


def test_last_25_lines_of_100_are_kept_in_50_writes() -> None:
    """`print` writes the text and the end of the line, so 50 writes are 25 lines."""
    tail = RingOutputDecorator(n_entries=50)

    for i in range(100):
        print(i, file=tail)

    assert tail.raw() == [text for i in range(75, 100) for text in (str(i), "\n")]
    assert tail.output() == tail.out() == "".join(tail.raw())


def test_everything_goes_to_the_file() -> None:
    """The file gets all writes, the decorator keeps the last ones."""
    file = io.StringIO()
    tail = RingOutputDecorator(file, n_entries=1)

    written = tail.write("one")
    tail.writelines(["two", "three"])

    assert (written, file.getvalue(), tail.output()) == (3, "onetwothree", "three")


def test_can_take_the_place_of_standard_output() -> None:
    """`print` and `redirect_stdout` work with it."""
    tail = RingOutputDecorator()

    with contextlib.redirect_stdout(tail):  # type: ignore[type-var]
        print("inside")

    assert tail.output() == "inside\n"


def test_facts_are_those_of_the_file() -> None:
    """Terminal, descriptor, encoding and all the rest come from the stream behind."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="latin-1")
    tail = RingOutputDecorator(file)

    tail.write("é")
    tail.flush()

    assert raw.getvalue() == b"\xe9"
    assert (tail.encoding, tail.isatty(), tail.buffer, tail.closed) == ("latin-1", False, raw, False)
    assert (tail.readable(), tail.writable()) == (False, True)


def test_descriptor_is_that_of_the_file(tmp_path: object) -> None:
    """Programs started with this stream get the real file."""
    with open(f"{tmp_path}/out.txt", "w") as file:
        assert RingOutputDecorator(file).fileno() == file.fileno()


def test_without_a_file_it_is_no_terminal_and_has_no_descriptor() -> None:
    """Alone it is a plain memory."""
    tail = RingOutputDecorator()

    tail.flush()

    assert (tail.isatty(), tail.encoding) == (False, "utf-8")
    with pytest.raises(io.UnsupportedOperation, match="fileno"):
        tail.fileno()
    with pytest.raises(AttributeError, match="no attribute 'buffer'"):
        _ = tail.buffer


def test_copy_is_possible() -> None:
    """Looking for attributes of a half-made copy does not recurse."""
    tail = RingOutputDecorator()
    tail.write("x")

    assert copy.copy(tail).output() == "x"
    assert copy.deepcopy(tail).output() == "x"


def test_keeping_nothing_is_refused() -> None:
    """At least one write is kept."""
    with pytest.raises(ValueError, match="at least one value"):
        RingOutputDecorator(n_entries=0)
