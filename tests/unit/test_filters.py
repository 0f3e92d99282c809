"""One language chooses trials on a command line and on the page: each of its terms, and what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

import track
from track import TrackClient
from track.errors import InvalidQuery
from track.filters import parse_filter
from track.naming import owners_of, with_uids
from track.rows import Row, make_rows
from track.structure import Trial


@pytest.fixture(scope="module")
def store() -> Any:
    """Give a store of four trials: a, b (failed), c and d."""
    client = TrackClient("ephemeral:")
    client.set_project(name="digits")
    client.set_group(name="ablation")
    with client.new_trial(name="a", parameters={"lr": 0.01, "opt": {"name": "adam"}}, tags={"paper": "v2"}) as trial:
        for step, loss in enumerate([0.9, 0.1, 0.3]):
            trial.log_metrics(step=step, loss=loss)
    with client.new_trial(name="b", parameters={"lr": 0.2}) as trial:
        trial.log_metrics(step=0, loss=0.2)
        trial.set_status("exception", "RuntimeError: out of memory, again")
    with client.new_trial(name="c", parameters={"lr": 0.05, "big": True}, tags=["draft"]) as trial:
        trial.log_metrics(loss=float("nan"))
    client.set_group(name="other", force=True)
    with client.new_trial(name="d", parameters={"loss": "mse"}, description="two words here"):
        pass
    return client.protocol


def _found(store: Any, text: str) -> str:
    chosen = parse_filter(text)
    owners = owners_of(store)
    rows = make_rows(store.brief_trials(with_uids(chosen.query, owners)), lambda: owners("group_id"))
    return "".join(str(row.trial.name) for row in rows if chosen.matches(row))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abcd"),
        ("lr<0.1", "ac"),
        ("lr<=0.01", "a"),
        ("lr=0.2", "b"),
        ("lr!=0.2", "acd"),
        ("parameters.lr>0.04", "bc"),
        ("loss<0.25", "b"),
        ("loss.min<0.2", "a"),
        ("loss.max>0.5", "a"),
        ("loss.count>=3", "a"),
        ("metrics.loss<0.25", "b"),
        ("loss=mse", "d"),
        ("opt.name=adam", "a"),
        ("opt.name~^a.*m$", "a"),
        ("big=true", "c"),
        ("status:failed", "b"),
        ("status=failed", "b"),
        ("status!=failed", "acd"),
        ("status:failed,completed", "abcd"),
        ("!status:failed", "acd"),
        ("-status:failed", "acd"),
        ("tag:paper", "a"),
        ("tag:paper=v2", "a"),
        ("tag:paper=v3", ""),
        ("tag:draft,paper", "ac"),
        ("!tag:paper", "bcd"),
        ("tags.paper=v2", "a"),
        ("group:ablation", "abc"),
        ("!group:ablation", "d"),
        ("project:digits", "abcd"),
        ("name:a,d", "ad"),
        ("name~[ab]", "ab"),
        ("name~[[a]", "a"),
        ("memory", "b"),
        ('"two words"', "d"),
        ("a/0", "a"),
        ('description "words here"', ""),
        ("ADAM", "a"),
        ("age<1h", "abcd"),
        ("time>1d", ""),
        ("lr<0.1 loss.min<0.2 tag:paper group:ablation", "a"),
    ],
)
def test_terms_choose(store: Any, text: str, names: str) -> None:
    """Each term says what it should, and all of them must hold."""
    assert _found(store, text) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stauts:failed", "'stauts:failed': what stands before a colon is one of status, tag"),
        ("status:compleeted", "no status is called 'compleeted'; did you mean 'completed'?"),
        ("lr<", "'lr<' compares with nothing"),
        ("lr<many", "nothing is less or greater than many"),
        ("tag:", "'tag:' says no value"),
        ("name~(", "( is no regular expression"),
        ('"two words', "is not closed"),
        ("x" * 20_000, "at most 10,000 characters"),
    ],
)
def test_mistakes_are_said_in_a_sentence(text: str, said: str) -> None:
    """What cannot be understood is named before any store is opened."""
    with pytest.raises(InvalidQuery) as error:
        parse_filter(text)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_quotes_keep_a_number_a_text(store: Any) -> None:
    """A value in quotes is text, and a column in quotes may hold anything."""
    assert _found(store, 'lr="0.01"') == "a"
    assert _found(store, '"lr"<0.1') == "ac"


@pytest.mark.parametrize("value", ["1", 1, "true", True, "v2", "0.10"])
def test_tag_is_found_as_it_is_shown(value: Any) -> None:
    """Whether its value is a number, or a text that could be one, as what is typed on the page is."""
    client = TrackClient("ephemeral:")
    with client.new_trial(name="tagged", parameters={"lr": 0.1}, tags={"paper": value}):
        pass
    with client.new_trial(name="other", parameters={"lr": 0.2}, tags={"paper": "another"}, force=True):
        pass

    assert _found(client.protocol, f"tag:paper={value}") == "tagged"


def test_several_words_of_a_shell_are_one_filter() -> None:
    """The words of a command line are joined."""
    assert parse_filter(["lr<1", "status:failed"]).query == parse_filter("lr<1 status:failed").query


def test_a_filter_reads_no_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """What metrics come to is known without their points."""
    with TrackClient(f"sqlite:{tmp_path}/runs.db").new_trial(parameters={"lr": 1}) as trial:
        trial.log_metrics(step=0, loss=0.5)
    protocol = track.reading.open_to_read(f"sqlite:{tmp_path}/runs.db")
    (row,) = make_rows(protocol.brief_trials(), dict)

    assert parse_filter("loss<1 loss.min<1 lr=1").matches(row)
    assert not row.trial.metrics.is_loaded


def test_any_text_is_a_filter_or_a_sentence() -> None:
    """Whatever is typed chooses trials, or is said to be wrong; nothing else is raised."""
    hypothesis = pytest.importorskip("hypothesis")
    pieces = [
        "lr",
        "<",
        "=",
        "!=",
        "~",
        ":",
        '"',
        "-",
        "!",
        " ",
        ",",
        "status",
        "tag",
        "1",
        "nan",
        "[",
        "\\",
        "é",
        "\n",
    ]
    texts = hypothesis.strategies.lists(hypothesis.strategies.sampled_from(pieces), max_size=12).map("".join)
    row = Row(Trial(name="a", parameters={"lr": 0.1}, tags={"paper": "v2"}))

    @hypothesis.settings(max_examples=300)
    @hypothesis.given(texts)
    def check(text: str) -> None:
        try:
            chosen = parse_filter(text)
        except InvalidQuery:
            return
        assert chosen.matches(row) in (True, False)

    check()
