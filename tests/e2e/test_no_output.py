"""What the library prints never ends a program: without standard output, a closed one, or one with few letters."""

from __future__ import annotations

import io
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.children import python, run
from track import TrackClient, em
from track.logger import TrialLogger
from track.utils.debug import print_stack
from track.utils.out import write_out


def _closed() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


class _Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


_STREAMS: dict[str, Callable[[], io.TextIOBase | None]] = {
    "none": lambda: None,
    "closed": _closed,
    "full": _Full,
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict"),
    "cp1252": lambda: io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict"),
}


@pytest.fixture(params=_STREAMS)
def begin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], io.TextIOBase | None]:
    """Give what makes this a process with another standard output."""

    def replace() -> io.TextIOBase | None:
        stream = _STREAMS[request.param]()
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return replace


def _trained(path: Path) -> TrialLogger:
    client = TrackClient(f"file:{path}/r.json")
    trial = client.new_trial(name="naïve ☃", description="日本", parameters={"lr": 0.1, "données": "é"})
    trial.start()
    trial.set_eta_total((1, 2))
    for step in range(2):
        with trial.chrono("batch") as times:
            trial.log_metrics(step=step, loss=1.0)
            trial.log_metrics(plain=1.0)
        trial.show_eta(step=(0, step), timer=times, msg="→ naïve")
    return trial


@pytest.mark.parametrize("style", ["json", "table"])
def test_what_is_printed_ends_nothing(begin: Callable[[], io.TextIOBase | None], style: str, tmp_path: Path) -> None:
    """The remaining time, both reports, parameters and stacks: all are printed as far as there is an output."""
    if style == "table":
        pytest.importorskip("rich", reason="needs rich")
    output = begin()
    trial = _trained(tmp_path)

    trial.report(style=style)
    TrackClient("ephemeral:").new_trial(force=True)
    client = TrackClient("ephemeral:")
    client.new_trial()
    client.log_arguments({"données": "→"}, show=True)
    print_stack("→")

    if isinstance(output, io.TextIOWrapper) and not output.closed:
        output.flush()
        buffer = output.buffer
        assert isinstance(buffer, io.BytesIO)
        assert all(said in buffer.getvalue() for said in (b"0.1", b"ETA", b"batch"))
    assert trial.trial.status.name == "Completed"


def test_what_is_captured_ends_nothing(
    begin: Callable[[], io.TextIOBase | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output is captured, and the stream is given back, whatever it is."""
    monkeypatch.chdir(tmp_path)
    trial = TrackClient(f"file:{tmp_path}/r.json").new_trial(parameters={})
    output = begin()

    with trial:
        trial.capture_output()
        write_out("naïve →\n")
    run = em.create_run(name="first")
    write_out("naïve →\n")
    run.finish()

    assert sys.stdout is output
    assert trial.trial.status.name == "Completed"
    assert "naïve →" in trial.trial.metadata["stdout"]


def test_what_has_no_letters_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left out."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)

    write_out("naïve →\n")

    stream.seek(0)
    assert stream.read() == "na\\xefve \\u2192\n"


def test_a_daemon_reports(tmp_path: Path) -> None:
    """A program that was started without its three streams ends well."""
    script = (
        "import os, sys; os.close(1); sys.stdout = None\n"
        "from track import TrackClient\n"
        "client = TrackClient(f'file:{sys.argv[1]}/r.json')\n"
        "with client.new_trial(parameters={}) as trial: trial.log_metrics(step=0, x=1)\n"
        "client.report()\n"
    )

    done = python("-c", script, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


# No more files.


def _log_without_descriptors(path: Path) -> None:
    """Log one of each kind while no file can be opened, and again when some can."""
    trial = TrackClient(f"file:{path}/r.json").new_trial(parameters={})
    trial.start()
    (path / "model.bin").write_bytes(b"weights")
    # As in a program whose first artifact it is.
    for name in [name for name in sys.modules if name.startswith("track.artifacts")]:
        del sys.modules[name]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    lost = [
        trial.log_file(path / "model.bin"),
        trial.log_artifact(b"weights", "bytes.bin"),
        trial.log_directory(path),
        trial.log_artifact(path / "model.bin", name="named"),
    ]
    trial.log_code()
    trial.log_metrics(step=0, loss=0.5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kept = trial.log_file(path / "model.bin")
    trial.finish()
    assert lost == [None] * 4
    assert kept is not None
    missing = trial.trial.metadata["artifacts_not_stored"]
    assert set(missing) == {str(path / "model.bin"), "bytes.bin", str(path), "named", "code"}
    assert all("Too many open files" in reason for reason in missing.values())
    assert trial.trial.status.name == "Completed"


def test_the_first_artifact_finds_no_descriptor(tmp_path: Path) -> None:
    """A process that may open no more files trains on; what is missing is in the metadata."""
    assert run(_log_without_descriptors, tmp_path) == 0
