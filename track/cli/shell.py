"""How the verbs talk to a person: which store is meant, what is printed, and how it is said that something is wrong."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from glob import glob
from typing import TYPE_CHECKING, Any, TextIO

from track.configuration import options
from track.errors import BackendUnavailable, InvalidCall, LockTimeout, NotFound, TrackError
from track.persistence.registry import known_schemes
from track.persistence.utils import is_stored, names_no_store
from track.plain import printable
from track.shown import LONGEST_MESSAGE, bounded, clean, cut, sentence_of, text_of

if TYPE_CHECKING:
    from track.persistence.protocol import Protocol

SCHEMA = 1
"""The number of what ``--json`` prints: another one where a field was taken away, or means another thing."""
NOTHING, WRONG, AWAY = 1, 2, 3
"""Exit codes: nothing was found or something is left, wrong usage, the store cannot be reached."""
_INTERRUPTED = 130
_FILES = {".json": "file", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite"}
_HERE = "report.json"
_STORE = (
    "the store, as it is given to TrackClient, or the path of its file; by default the one that is configured, "
    f"else {_HERE} here"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


# which store


def take_words(
    parser: argparse.ArgumentParser, what: str = "", name: str = "TRIAL", least: int = 0, most: int | None = None
) -> None:
    """Let a verb take a store, which may be left out, and words after it.

    Parameters
    ----------
    what: str
        What the words are, for the help.
    least, most: int
        How many there must and may be.
    """
    text = f"URI: {_STORE}. {name.split(maxsplit=1)[0]}: {what}" if what else _STORE
    parser.add_argument("words", nargs="*", metavar=f"URI {name}" if most != 0 else "URI", help=text)
    parser.set_defaults(intermixed=True, least=least, most=most, wanted=name, prog=parser.prog)


def store_and_words(given: argparse.Namespace) -> tuple[str, list[str]]:
    """Return the store that is meant, and the words after it.

    Raises
    ------
    InvalidCall
        These are too few or too many words, or no store is given and none is configured.
    BackendUnavailable
        The first one is the path of a store that is not there.
    """
    words = list(given.words)
    uri = _as_store(words[0]) if words else None
    if uri is not None:
        del words[0]
    if len(words) < given.least:
        hint = ", as @last or @best:loss" if "TRIAL" in given.wanted else ""
        which = "which ones" if given.least > 1 else "which one"
        raise InvalidCall(f"{which}? Give {' '.join([given.wanted] * given.least)}{hint}")
    if given.most is not None and len(words) > given.most:
        if uri is None and is_path_of_store(words[0]):
            raise BackendUnavailable(f"there is no store {clean(words[0], 100)!r}")
        raise InvalidCall(f"{clean(words[given.most], 100)!r} is too much, or no store: see {given.prog} --help")
    return uri or configured_store(given.prog), words


def _as_store(word: str) -> str | None:
    """Return the URI that a word is, or that of the file whose path it is; None where it is neither."""
    found = _SCHEME.match(word)
    if found is not None and (found[2] or found[1].lower() in known_schemes()):
        return word
    return as_uri(word) if is_path_of_store(word) and is_stored(word) else None


def is_path_of_store(word: str) -> bool:
    """Return whether a word is called as the file of a store is, be there one or not."""
    return os.path.splitext(word)[1].lower() in _FILES and _SCHEME.match(word) is None


def as_uri(word: str) -> str:
    """Return the URI of a store that is given by it, or by the path of a file that may be one to come."""
    if not is_path_of_store(word):
        return word
    return f"{_FILES[os.path.splitext(word)[1].lower()]}:{os.path.abspath(word)}"


def configured_store(verb: str = "", option: str = "") -> str:
    """Return the store that `TrackClient()` uses, else that of ``report.json`` in the working directory.

    Raises InvalidCall: there is none. With the `verb` that asks it names a store that lies there; `option` is what
    a URI is given by.
    """
    uri = options("log.backend.name", None)
    if not names_no_store(uri):
        return str(uri)
    if is_stored(_HERE):
        return f"file:{os.path.abspath(_HERE)}"
    # Beside a store of files lies its lock.
    locks = sorted(glob("*.json.lock")) if verb else []
    found = next((name for name in (lock.removesuffix(".lock") for lock in locks) if is_stored(name)), None)
    example = f"its file, as `{verb} {clean(found, 100)}`" if found else f"its URI, as {option}file://runs.json"
    raise InvalidCall(f"which store? Give {example}, or set TRACK_LOG_BACKEND_NAME; here is no {_HERE} either")


# running


def on_store(
    given: argparse.Namespace,
    act: Callable[[Protocol, str, list[str]], int],
    open_it: Callable[[str], Protocol] | None = None,
) -> int:
    """Open the store that is meant, give it to `act` with its URI and the words, and return the exit code.

    `open_it`: opens it; to read by default.
    """
    try:
        uri, words = store_and_words(given)
    except (TrackError, ValueError, OSError) as error:
        complain(given.prog, error)
        return code_of(error)

    def act_on_it() -> int:
        # Only now: what a store needs takes longer than all else here.
        from track.reading import open_to_read

        protocol = opened(open_it or open_to_read, uri)
        try:
            return act(protocol, uri, words)
        finally:
            protocol.close()

    return attempt(given.prog, act_on_it)


def opened(open_it: Callable[[str], Protocol], uri: str) -> Protocol:
    """Return the backend of a store.

    Raises
    ------
    BackendUnavailable
        It is not there, or does not answer.
    """
    try:
        return open_it(uri)
    except (NotFound, OSError) as error:
        if isinstance(error, BackendUnavailable):
            raise
        raise BackendUnavailable(sentence_of(error)) from error


def attempt(program: str, act: Callable[[], int]) -> int:
    """Return the exit code of what a verb does, and print in one sentence what is wrong with it."""
    try:
        return act()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (TrackError, ValueError, OSError) as error:
        complain(program, error)
        return code_of(error)


def code_of(error: Exception) -> int:
    """Return the exit code that says what is wrong."""
    if isinstance(error, (BackendUnavailable, LockTimeout)):
        return AWAY
    return NOTHING if isinstance(error, NotFound) else WRONG


def all_stored(protocol: Protocol, program: str) -> int:
    """Return 0 once everything that was changed is stored, 1 where something waits for its server, which is said."""
    protocol.flush()
    unsaved = protocol.unsaved()
    if unsaved:
        tell(f"{program}: {unsaved} changes wait to be stored: {protocol.remedy}")
    return NOTHING if unsaved else 0


# printing


def say(text: str) -> None:
    """Print a text and the end of a line; letters that the terminal does not have are escaped."""
    write(f"{text}\n")


def write(text: str) -> None:
    """Print a text as `say` does, without an end of the line."""
    stream = sys.stdout
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def tell(text: str) -> None:
    """Print a message beside what was asked for: to standard error, on one line."""
    if sys.stderr is not None:
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        line = clean(text, LONGEST_MESSAGE)
        sys.stderr.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))


def tell_hidden(names: Sequence[str], others: int = 0) -> None:
    """Say which columns have no room in a table, and of how many more that is so."""
    number = len(names) + others
    if number:
        columns = "1 more column" if number == 1 else f"{number:,} more columns"
        tell(f"{columns} ({cut(', '.join([*names, *(['...'] if others else [])]), 100)}): -c NAME,...")


def complain(program: str, error: Exception) -> None:
    """Print what is wrong in one sentence."""
    tell(f"{program}: error: {' '.join(bounded(sentence_of(error)).split())}")


def as_json(document: dict[str, Any]) -> str:
    """Return a document on one line, in letters that do nothing to a terminal, and numbers that any reader accepts."""
    return json.dumps(printable(document), allow_nan=False).replace("\x7f", "\\u007f")


def say_json(**fields: Any) -> None:
    """Print one document of JSON."""
    say(as_json({"schema": SCHEMA, **fields}))


def csv_cell(value: Any) -> Any:
    """Return what a value of a column is in comma-separated values."""
    from track.rows import MISSING

    if value is MISSING or value is None:
        return ""
    if isinstance(value, (float, str)):
        return value
    # An integer of thousands of digits is hexadecimal.
    return printable(value) if isinstance(value, int) else text_of(value)


def csv_writer(file: TextIO) -> Any:
    """Return a writer of comma-separated values, a line feed after each; a text with any end of a line is quoted."""
    import csv
    from types import SimpleNamespace

    # It quotes what has a letter of its own ends of lines, and gives each line in one piece.
    return csv.writer(SimpleNamespace(write=lambda line: file.write(f"{line[:-2]}\n")), lineterminator="\r\n")


def say_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print comma-separated values, with a line of names; numbers have all their digits."""
    import io

    file = io.StringIO()
    csv_writer(file).writerows(harmless_rows([names, *rows]))
    say(file.getvalue().removesuffix("\n"))


def harmless_rows(rows: Iterable[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    """Return rows for standard output: where that is a terminal, their texts do nothing to it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return rows
    return ([clean(cell, sys.maxsize) if isinstance(cell, str) else cell for cell in row] for row in rows)


def take_forms(parser: argparse.ArgumentParser, is_list: bool = True) -> None:
    """Let a verb print JSON, and a list also lines of it and comma-separated values."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="one document of JSON")
    if is_list:
        forms.add_argument("--jsonl", action="store_true", help="a document of JSON in each line")
        forms.add_argument("--csv", action="store_true", help="comma-separated values")


def take_security(parser: argparse.ArgumentParser) -> None:
    """Let a verb encrypt the connections that it takes."""
    parser.add_argument(
        "--security-layer",
        choices=("AES", "TLS"),
        help="encrypt: AES with a certificate made here, which is known by its fingerprint; TLS with your own",
    )
    parser.add_argument("--certificate", metavar="FILE", help="your own certificate (PEM)")
    parser.add_argument("--key", metavar="FILE", help="its private key (PEM)")
