"""Which class serves which scheme."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import track.persistence as persistence
from tests.children import printed_by
from track import TrackClient
from track.errors import AlreadyExists, InvalidUri, MissingExtra, UnknownBackend
from track.persistence import get_protocol, known_schemes, register, unregister
from track.persistence.ephemeral import EphemeralProtocol
from track.persistence.local import FileProtocol
from track.persistence.multiplexer import ProtocolMultiplexer
from track.persistence.protocol import Protocol
from track.structure import Project, Trial


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    """Forget what a test registered."""
    yield
    for scheme in known_schemes():
        unregister(scheme)


class _Listener(Protocol):
    """A backend written method by method, of which there are few."""

    def __init__(self, uri: str) -> None:
        self.uri = uri


@pytest.mark.parametrize("uri", [None, "", "none", "none:", "ephemeral:", "ephemeraldb:"])
def test_stores_in_memory(uri: str | None) -> None:
    """Nothing, none and ephemeral are in memory."""
    assert isinstance(get_protocol(uri), EphemeralProtocol)


@pytest.mark.parametrize("uri", ["file:", "pickled:", "pickleddb:"])
def test_stores_in_a_file(uri: str) -> None:
    """Files are served by the file backend."""
    assert isinstance(get_protocol(uri), FileProtocol)


@pytest.mark.parametrize("uri", ["file:", "file://", "file:?strict=0", "pickled:", "pickled://"])
def test_file_without_a_name_is_said(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who forgot the name of the file is told once, before anything is lost."""
    client = TrackClient(uri)
    for number in range(2):
        client.new_trial(parameters={"n": number}, force=True).log_metrics(loss=1.0)

    assert caplog.text.count("names no file: nothing will be stored") == 1


def test_memory_that_was_asked_for_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    """The store that a program keeps in memory until it saves, as the original had it, is no mistake."""
    persistence.make_local("file:", strict=False, eager=False)

    assert "names no file" not in caplog.text


def test_factory_gets_the_whole_uri() -> None:
    """What is registered is called with the URI as it was given."""
    seen: list[str] = []
    register("byob", lambda uri: seen.append(uri) or EphemeralProtocol())  # type: ignore[func-returns-value]

    get_protocol("byob://host/a?b=1")

    assert seen == ["byob://host/a?b=1"]


def test_backend_of_methods_gets_a_mirror() -> None:
    """A backend that is written method by method has a copy in memory that answers for it."""
    register("byob", _Listener)

    made = get_protocol("byob://host")

    assert isinstance(made, ProtocolMultiplexer)
    assert [type(proto) for proto in made.protos] == [EphemeralProtocol, _Listener]


def test_text_is_imported_at_first_use() -> None:
    """A class may be registered by its name."""
    register("byob", "track.persistence.ephemeral:EphemeralProtocol")

    assert isinstance(get_protocol("byob:"), EphemeralProtocol)


def test_same_registration_again_is_fine() -> None:
    """A module that is imported twice may register twice."""
    register("byob", _Listener)
    register("byob", _Listener)

    assert "byob" in known_schemes()


@pytest.mark.parametrize("name", ["byob", "file"])
def test_another_registration_is_refused(name: str) -> None:
    """A scheme is not taken over by accident, and can be on purpose."""
    register("byob", EphemeralProtocol)

    with pytest.raises(AlreadyExists, match=f"'{name}' is served by .* already: pass clobber=True"):
        register(name, _Listener)
    register(name, lambda uri: EphemeralProtocol(), clobber=True)

    assert isinstance(get_protocol(f"{name}:"), EphemeralProtocol)


def test_unregistered_scheme_is_as_before() -> None:
    """Forgetting a registration brings a built-in scheme back."""
    register("file", EphemeralProtocol, clobber=True)

    unregister("file")
    unregister("never")

    assert isinstance(get_protocol("file:"), FileProtocol)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("fiel:x.json", r"no backend 'fiel:'; did you mean 'file:'\?"),
        ("ephemral:", r"no backend 'ephemral:'; did you mean 'ephemeral:'\?"),
        ("qqqq:x", r"no backend 'qqqq:'; the backends are: .*ephemeral, ephemeraldb, file, "),
        ("report.json", r"'report.json' names no backend: did you mean 'file:report.json'\?"),
        ("//ann:pw@host/x", r"'//ann:\*\*\*@host/x' names no backend"),
        ("json:x", r"no backend 'json:'; did you mean 'file:'\?"),
        ("postgres://ann:pw@host/x", r"no backend 'postgres:'; did you mean 'cockroach:' \(PostgreSQL speaks"),
        ("postgresql://host/x", r"no backend 'postgresql:'; did you mean 'cockroach:' \(PostgreSQL speaks"),
    ],
)
def test_unknown_scheme_is_an_error(uri: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheme that nobody serves says what it could have been, and creates no file."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UnknownBackend, match=message):
        get_protocol(uri)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["file", "FILE", "File"])
def test_scheme_in_any_case(scheme: str, tmp_path: Path) -> None:
    """The scheme of a URI has no case."""
    assert isinstance(get_protocol(f"{scheme}:{tmp_path}/x.json"), FileProtocol)


def test_registered_scheme_in_any_case() -> None:
    """A backend of one's own may be registered with capitals."""
    register("ByOB", EphemeralProtocol)

    assert known_schemes().count("byob") == 1
    with pytest.raises(InvalidUri, match="names a place"):
        get_protocol("BYOB:somewhere")
    unregister("ByOB")
    assert "byob" not in known_schemes()


def test_missing_package_is_named() -> None:
    """A backend whose package is missing says what to install."""
    register("byob", "surely_not_installed.backend:Backend")

    with pytest.raises(MissingExtra, match="'byob:' needs surely_not_installed, which is not installed"):
        get_protocol("byob:")


def test_missing_package_without_a_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails with a text only is an error that has the text."""
    (tmp_path / "half_backend.py").write_text("raise ImportError('libcockroach.so is too old')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    register("byob", "half_backend:Backend")

    with pytest.raises(MissingExtra, match=r"needs libcockroach\.so is too old"):
        get_protocol("byob:")


def test_mistake_of_ours_is_not_a_missing_package() -> None:
    """A module of track that is not there is a mistake, not something to install."""
    register("byob", "track.persistence.nowhere:Backend")

    with pytest.raises(ImportError, match=r"track\.persistence\.nowhere") as caught:
        get_protocol("byob:")

    assert not isinstance(caught.value, MissingExtra)


def test_entry_points_are_read_at_the_first_unknown_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package brings a scheme without an import of its own."""
    entry = importlib.metadata.EntryPoint("plug", "track.persistence.ephemeral:EphemeralProtocol", "track.protocols")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])

    assert isinstance(get_protocol("plug:"), EphemeralProtocol)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ephemeral:report.json", r"use 'file:report.json'\?"),
        ("none://host", "this store is in memory"),
        ("ephemeral:?eager=0", "unknown option 'eager'"),
        ("file:x.json?eagre=0", "unknown option 'eagre'"),
    ],
)
def test_uri_that_a_backend_cannot_use_is_refused(uri: str, message: str) -> None:
    """A place for a store in memory, or an option of nobody, is an error."""
    with pytest.raises(InvalidUri, match=message):
        get_protocol(uri)


@pytest.mark.parametrize(
    ("factory", "uri", "kind"),
    [
        ("make_local", "file:", FileProtocol),
        ("make_ephemeral_protocol", "ephemeral:", EphemeralProtocol),
        ("make_pickled_protocol", "pickled:", FileProtocol),
    ],
)
def test_factories_of_the_original(factory: str, uri: str, kind: type) -> None:
    """The original's factory functions make the same backends."""
    made: Any = getattr(persistence, factory)(uri)

    assert isinstance(made, kind)


@pytest.mark.parametrize(
    "factory", ["make_socket_protocol", "make_cockroach_protocol", "make_mongodb_protocol", "make_comet_ml"]
)
def test_factories_go_through_the_registry(factory: str) -> None:
    """A factory of a remote backend serves what is registered for its URI."""
    register("byob", EphemeralProtocol)

    assert isinstance(getattr(persistence, factory)("byob:"), EphemeralProtocol)


def test_local_options_are_arguments() -> None:
    """What the URI does not say, the arguments do."""
    made: Any = persistence.make_local("file:", strict=False, eager=False)

    assert (made.strict, made.eager) == (False, False)


def test_messages_do_not_show_a_password() -> None:
    """What a backend says of itself has no secret in it."""

    class _Remote(EphemeralProtocol):
        def __init__(self, uri: str) -> None:
            super().__init__()
            self.uri = uri

    remote = _Remote("byob://ann:secret@host")

    with pytest.raises(LookupError, match=r"byob://ann:\*\*\*@host"):
        remote.add_project_trial(Project(name="p"), Trial("ab"))
    assert repr(remote) == "_Remote('byob://ann:***@host')"


def test_nothing_is_imported_before_a_scheme_is_used() -> None:
    """Knowing the schemes costs no backend."""
    script = (
        "import sys; from track.persistence import known_schemes; known_schemes(); "
        "print(*(name for name in sys.modules if name.startswith('track.persistence.') "
        "and name.rpartition('.')[2] in ('local', 'ephemeral', 'sqlite', 'pickled')))"
    )

    assert printed_by(script) == ""
