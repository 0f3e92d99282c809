"""Every command answers in JSON, and its exit code says what happened."""

from __future__ import annotations

import argparse
import csv
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.children import kill, start_python
from track import TrackClient
from track.cli import main, make_parser

# How each command is called, and the fields of its document; URI is a store with the runs a and b, `set` a set with an
# experiment. The form stands at the end, or where FORM does.
CALLS: dict[str, tuple[list[str], set[str]]] = {
    "ls": (["ls", "URI"], {"uri", "total", "matching", "trials"}),
    "ls --group": (["ls", "URI", "--group"], {"total", "groups"}),
    "show": (["show", "URI", "a"], {"trial"}),
    "compare": (
        ["compare", "URI", "a", "b"],
        {"trials", "facts", "parameters", "metrics", "code", "packages", "where", "difference"},
    ),
    "metrics": (["metrics", "URI", "a", "loss"], {"uid", "metric", "count", "points"}),
    "output": (["output", "URI", "a"], {"uid", "lines"}),
    "watch": (["watch", "URI", "--until-done", "-i", "0.01"], {"total", "matching", "running", "trials"}),
    "tag": (["tag", "URI", "a", "paper"], {"uid", "tags"}),
    "status": (["status", "URI", "a"], {"uid", "status"}),
    "export": (["export", "URI", "--csv", "out.csv"], {"uri", "form", "out", "written", "left", "total"}),
    "sql": (["sql", "URI", "select name from trials"], {"columns", "rows"}),
    "artifacts list": (["artifacts", "list", "URI"], {"uri", "artifacts"}),
    "artifacts download": (["artifacts", "download", "URI", "note"], {"path", "name", "version", "digest"}),
    "artifacts gc": (["artifacts", "gc", "URI"], {"uri", "dry_run", "removed", "bytes", "waiting"}),
    "compact": (["compact", "URI"], {"uri", "is_folded"}),
    "copy": (
        ["copy", "URI", "file:copy.json"],
        {
            "source",
            "target",
            "copied",
            "present",
            "deleted",
            "forgotten",
            "hidden",
            "renumbered",
            "running",
            "changed",
            "refused",
            "files",
        },
    ),
    "import": (
        ["import", "csv", "points.csv", "--to", "file:made.json"],
        {"source", "path", "target", "dry_run", "runs", "taken", "left"},
    ),
    "delete": (["delete", "URI", "b"], {"uri", "deleted"}),
    "restore": (["restore", "URI", "c"], {"uri", "restored"}),
    "gc": (["gc", "URI"], {"uri", "removed", "late", "running"}),
    "sync": (["sync"], {"servers"}),
    "user add": (["user", "add", "ann", "--password-stdin", "--users", "u.json"], {"user", "role", "done", "users"}),
    "user remove": (["user", "remove", "bob", "--users", "users.json"], {"user", "done", "users"}),
    "user list": (["user", "list", "--users", "users.json"], {"users"}),
    "doctor": (["doctor", "URI"], {"findings"}),
    "completion": (["completion", "bash"], {"shell", "script"}),
    "exp python": (["exp", "python"], {"experiments"}),
    "exp python --add": (["exp", "python", "--add", "collections", "Counter"], {"name", "path", "done"}),
    "exp config": (["exp", "config", "--enable_prompt"], {"path", "settings"}),
    "exp init": (["exp", "init", "-r", "new", "-d", "set/defaults.yml", "-s", "set/script.sh"], {"root", "type"}),
    "exp link": (["exp", "link", "-r", "set", "-u", "{number: 2 | 3}"], {"root", "experiments", "later"}),
    "exp sweep": (["exp", "sweep", "-r", "set", "-u", "{number: 1 .. 9}", "-t", "2"], {"root", "experiments", "later"}),
    "exp run": (["exp", "run", "FORM", "-r", "set", "*", "bash"], {"root", "codes", "failed"}),
    "exp work": (["exp", "work", "set"], {"root", "ran", "failed"}),
    "exp note": (["exp", "note", "-r", "set", "*", "too loud"], {"root", "experiments", "note", "removed"}),
    "exp reset": (["exp", "reset", "-r", "set", "*"], {"root", "experiments", "status"}),
    "exp unlink": (["exp", "unlink", "-r", "set"], {"root", "experiments"}),
    "exp relink": (["exp", "relink", "-r", "set", "-e", "*"], {"sets", "experiments"}),
    "exp clean": (["exp", "clean", "-r", "set", "-y"], {"root", "deleted"}),
    "exp rm": (["exp", "rm", "-y", "set"], {"root", "deleted", "remains"}),
    "exp list": (["exp", "list", "set", "-s"], {"prefix", "experiments"}),
}
# These run until they are told to end.
SERVING: dict[str, tuple[list[str], set[str]]] = {
    "ui": (["ui", "URI", "--no-browser"], {"link", "host", "port", "writes"}),
    "serve": (["serve", "URI", "--port", "0"], {"uri", "host", "port", "notes"}),
}
# Verbs of a set that ask its store; `list` shows what the files say where that is away.
ASKING = tuple(f"exp {verb}" for verb in ("link", "run", "work", "note", "reset", "unlink", "relink", "rm"))
LISTS = ("ls", "ls --group", "metrics", "sql", "artifacts list", "user list", "exp python", "exp list")


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command, and each action of those that have some, with its parser."""
    (verbs,) = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for name, parser in verbs.choices.items():
        inside = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not inside:
            yield name, parser
        for action in inside:
            # Aliases come after the names that they are of.
            known = {id(child): (f"{name} {one}", child) for one, child in reversed(action.choices.items())}
            yield from known.values()


COMMANDS = dict(_commands())


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with two runs, a file, and one that was deleted; a file of users with Bob."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    made = f"file:{tmp_path}/runs.json"
    client = TrackClient(made)
    for number, name in enumerate("abc"):
        with client.new_trial(name=name, parameters={"lr": number, "seed": number}, force=True) as trial:
            with trial.capture_output():
                print("said")
            trial.log_metrics(step=0, loss=float(number))
            if name == "a":
                trial.log_artifact(b"noted", "note")
    client.delete_trial("c")
    client.protocol.close()
    Path("points.csv").write_text("run,step,loss\na,0,1.5\n")
    Path("users.json").write_text('{"format": 1, "users": {}}')
    Path("users.json").chmod(0o600)
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    main(["user", "add", "bob", "--password-stdin", "--users", "users.json"])
    monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
    return made


def _words(words: list[str], uri: str, form: str = "") -> list[str]:
    """Return what is called: the store and the form where they belong."""
    if form and "FORM" not in words:
        words = [*words, "FORM"]
    given = {"URI": uri, "FORM": form}
    return [word for word in (given.get(word, word) for word in words) if word]


@pytest.fixture
def _a_set(uri: str, request: pytest.FixtureRequest) -> None:
    """A set with one experiment of bash, which prints, and a known experiment in Python, for the commands of sets."""
    if not request.node.callspec.params["name"].startswith("exp"):
        return
    pytest.importorskip("yaml")
    Path("defaults.yml").write_text("number: 0\n")
    Path("script.sh").write_text("echo printed\n")
    for words in (
        ["init", "-r", "set"],
        ["link", "-r", "set", "-u", "{number: 1}"],
        ["python", "--add", "collections", "OrderedDict"],
    ):
        assert main(["exp", *words]) == 0


def test_every_command_is_called_here() -> None:
    """A command that is new is added to what these tests call."""
    called = {name.partition(" --")[0] for name in (*CALLS, *SERVING)}

    assert called == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json(name: str) -> None:
    """There is no command whose answer only a person can read."""
    assert "--json" in COMMANDS[name].format_help()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("_a_set")
def test_json_is_one_document(name: str, uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is one line of JSON with the number of the schema and the fields that are documented."""
    if name == "sql":
        pytest.importorskip("duckdb")
        pytest.importorskip("pyarrow")
    words, fields = CALLS[name]
    capfd.readouterr()

    code = main(_words(words, uri, "--json"))

    (line,) = capfd.readouterr().out.splitlines()
    document = json.loads(line)
    assert (code, document.pop("schema")) == (0, 1)
    assert set(document) == fields


@pytest.mark.parametrize("name", SERVING)
def test_who_serves_says_where_as_json(name: str, uri: str) -> None:
    """The first line is the document; a program that started it knows where to go."""
    words, fields = SERVING[name]
    process = start_python("-m", "track", *_words(words, uri), "--json", stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    finally:
        kill(process.pid)
        process.wait()

    assert set(document) == {"schema", *fields}
    assert document["port"] > 0
    assert (rest, process.returncode) == ("", 0)


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.usefixtures("_a_set")
def test_lists_are_lines_and_columns_too(name: str, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--jsonl`` is a document a row, ``--csv`` a row a row with a line of names."""
    if name == "sql":
        pytest.importorskip("duckdb")
        pytest.importorskip("pyarrow")
    words = _words(CALLS[name][0], uri)
    capsys.readouterr()

    assert main([*words, "--jsonl"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main([*words, "--csv"]) == 0
    names, *rows = csv.reader(io.StringIO(capsys.readouterr().out))

    assert documents
    assert len(rows) == len(documents)
    assert all(len(row) == len(names) for row in rows)


@pytest.mark.parametrize("words", [["ls", "--csv"], ["metrics", "@last", "--csv"], ["export", "--csv", "-"]])
def test_names_in_columns_do_nothing_to_a_terminal(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of runs, parameters and metrics are escaped on a terminal, and exact where they are piped."""
    name = "\x1b[2Jred"
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", f"file:{tmp_path}/runs.json")
    client = TrackClient(f"file:{tmp_path}/runs.json")
    for number in range(2):
        with client.new_trial(name=name, parameters={name: number}, force=True) as trial:
            trial.log_metrics(step=0, **{f"m{name}": 1.0})
    client.save()

    assert main(words) == 0
    assert "\x1b[2Jred" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(words) == 0

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "m\\x1b[2Jred" in out


@pytest.mark.parametrize("scheme", ["file", "sqlite"])
@pytest.mark.parametrize("name", [name for name, (words, _) in {**CALLS, **SERVING}.items() if "URI" in words])
def test_a_store_that_is_not_there_is_three(name: str, scheme: str, uri: str, tmp_path: Path, capsys: Any) -> None:
    """Whatever is asked of a store that cannot be reached ends with 3, and a sentence, and makes none."""
    words = _words({**CALLS, **SERVING}[name][0], f"{scheme}:{tmp_path}/none/runs")
    if name == "serve":
        pytest.skip("it makes the store that it serves")

    code = main([*words, "--json"])

    said = capsys.readouterr()
    findings = json.loads(said.out)["findings"] if name == "doctor" else []
    assert code == 3
    assert "there is no store" in (findings[-1]["text"] if findings else said.err)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ASKING)
@pytest.mark.usefixtures("_a_set")
def test_a_store_that_is_away_is_three(name: str, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """A set whose server does not answer ends with 3, and a sentence, and its files stay as they are."""
    monkeypatch.setenv("TRACK_LOG_BACKEND_NAME", "socket://127.0.0.1:1")
    monkeypatch.setattr("track.manager.queue.PATIENCE", 0.0)
    before = {path: path.read_bytes() for path in Path("set").rglob("*.yml")}
    capfd.readouterr()

    code = main(_words(CALLS[name][0], "", "--json"))

    said = capfd.readouterr()
    assert (code, said.out) == (3, "")
    assert said.err.startswith(f"{' '.join(['track', *name.split()])}: error: ")
    assert {path: path.read_bytes() for path in Path("set").rglob("*.yml")} == before


@pytest.mark.parametrize(
    "name", [name for name, (words, _) in CALLS.items() if "URI" in words and {"a", "b", "c", "note"} & set(words)]
)
def test_what_is_not_there_is_one(name: str, uri: str, capsys: Any) -> None:
    """A trial, or a file, that no store has ends with 1, a sentence, and no document."""
    words = [
        {"a": "nobody", "b": "nobody", "c": "nobody", "note": "nothing"}.get(word, word) for word in CALLS[name][0]
    ]
    capsys.readouterr()

    code = main([*_words(words, uri), "--json"])

    said = capsys.readouterr()
    assert (code, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_is_two_everywhere(name: str, uri: str, capsys: Any) -> None:
    """An option that there is not is wrong usage of every command."""
    with pytest.raises(SystemExit) as ended:
        main([*name.split(), "--nonsense"])

    assert ended.value.code == 2
    # The programs of the original say it in a sentence.
    said = capsys.readouterr().err
    assert said.startswith("track exp" if name.startswith("exp ") else "usage: track")
