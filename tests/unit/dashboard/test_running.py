"""A page that runs already: where its link is, and what a second start does; which port; frames of this machine."""

from __future__ import annotations

import argparse
import os
import stat
from pathlib import Path

import pytest

from track.cli import ui
from track.dashboard import Dashboard
from track.dashboard.running import Running

PAGE = ("file:/somewhere/report.json", False)


def test_who_starts_a_page_again_is_told_its_link_until_it_ends() -> None:
    """The second of the same page has the first one's link; one of another page, or after the end, has none."""
    first, other = Running(*PAGE), Running("file:/elsewhere.json", False)
    assert first.link() is None
    assert Running(*PAGE).link() is None
    first.say("http://127.0.0.1:8124/?token=a")

    assert Running(*PAGE).link() == "http://127.0.0.1:8124/?token=a"
    assert other.link() is None
    first.close()
    again = Running(*PAGE)
    assert again.link() is None
    again.close()
    other.close()


def test_link_of_a_page_is_for_its_user_alone() -> None:
    """Nobody else may read its file, even where it was there with another mode, and nothing of it stays behind."""
    folder = Path(os.environ["TRACK_HOME"]) / "pages"
    first = Running(*PAGE)
    first.link()
    (path,) = folder.iterdir()
    first.close()
    path.write_text("http://127.0.0.1:1/?token=old")
    path.chmod(0o644)

    running = Running(*PAGE)
    assert running.link() is None
    running.say("http://127.0.0.1:8124/?token=a")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.read_text() == "http://127.0.0.1:8124/?token=a"
    running.close()
    assert list(folder.iterdir()) == []


def test_link_is_not_written_through_a_link_of_somebody(tmp_path: Path) -> None:
    """Where the file's name leads elsewhere, the page runs without one, and what is there stays."""
    first = Running(*PAGE)
    first.link()
    (path,) = (Path(os.environ["TRACK_HOME"]) / "pages").iterdir()
    first.close()
    (tmp_path / "mine").write_text("mine")
    path.symlink_to(tmp_path / "mine")

    running = Running(*PAGE)
    assert running.link() is None
    running.say("http://127.0.0.1:8124/?token=a")
    running.close()

    assert (tmp_path / "mine").read_text() == "mine"


def test_page_runs_where_no_file_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is no folder is no error: each page is its own then."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRACK_HOME", str(tmp_path / "file"))
    running = Running(*PAGE)

    assert running.link() is None
    running.say("http://127.0.0.1:8124/?token=a")
    running.close()


@pytest.mark.parametrize(
    ("port", "taken", "got"), [(None, False, 8124), (None, True, 0), (0, False, 0), (9000, False, 9000)]
)
def test_page_listens_on_its_usual_port_where_that_is_free(port: int | None, taken: bool, got: int) -> None:
    """8124 if nothing else is asked for; any other where that is taken."""

    def listen(wanted: int) -> int:
        if taken and wanted == 8124:
            raise OSError("taken")
        return wanted

    assert ui._listening(argparse.Namespace(port=port), listen) == got


def test_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    """Nobody is given another one than the one that they asked for."""

    def listen(_: int) -> int:
        raise OSError("taken")

    with pytest.raises(OSError, match="taken"):
        ui._listening(argparse.Namespace(port=9000), listen)


@pytest.mark.parametrize("embed", [False, True])
def test_only_pages_of_this_machine_may_show_it_in_a_frame_and_only_if_told(embed: bool) -> None:
    """Without ``--embed`` nobody may; with it, no other machine's page."""
    said: dict[str, str] = {}
    Dashboard("ephemeral:", "t", embed=embed)({"REQUEST_METHOD": "GET"}, lambda _, headers: said.update(headers))
    ancestors = said["Content-Security-Policy"].partition("frame-ancestors ")[2].split()

    if embed:
        assert "X-Frame-Options" not in said
        assert {one.split("://")[1].rpartition(":")[0] for one in ancestors} == {"localhost", "127.0.0.1"}
    else:
        assert (said["X-Frame-Options"], ancestors) == ("DENY", ["'none'"])
