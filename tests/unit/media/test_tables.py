"""The first rows of a stored table: they are what they are, and no more is unpacked for them than that takes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from track import TrackClient
from track.artifacts.inline import inline_uri
from track.dashboard.media import shown_of
from track.errors import CorruptArtifact
from track.media import Medium, tables
from track.media.tables import PARQUET, first_rows, rows_in, table_content

pyarrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")


def _parquet(table: Any, **options: Any) -> bytes:
    from pyarrow import parquet

    made = io.BytesIO()
    parquet.write_table(table, made, compression="zstd", **options)
    return made.getvalue()


def test_first_rows_are_those_of_all() -> None:
    """Over groups of rows, for texts, lists, mappings, bytes, what is missing, and an empty table."""
    rows = 1000
    columns = {
        "a": range(rows), "b": [None if i % 3 else f"t{i}" for i in range(rows)], "c": [[1, None, 2]] * rows,
        "d": [{"x": "y"}] * rows, "e": [b"\xff"] * rows, "f": pyarrow.array(["q"] * rows).dictionary_encode(),
    }  # fmt: skip
    table = pyarrow.table({name: column if name == "f" else list(column) for name, column in columns.items()})
    data = _parquet(table, row_group_size=70)
    names, all_rows = rows_in(data, PARQUET)

    assert first_rows(data, PARQUET, 200, 60) == (names, all_rows[:200], 800)
    assert first_rows(data, PARQUET, 5, 2) == (["a", "b"], [row[:2] for row in all_rows[:5]], 995)
    assert first_rows(_parquet(table.slice(0, 0)), PARQUET, 200, 2) == (["a", "b"], [], 0)


def test_one_long_text_is_unpacked_once() -> None:
    """A thousand bytes may be thirty gigabytes of texts that are all one: it is one object in all rows shown."""
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 1000, pyarrow.int32()), pyarrow.array(["x" * 10**6])
    )

    _, rows, left = first_rows(_parquet(pyarrow.table({"a": texts})), PARQUET, 200, 60)

    assert (len(rows), left) == (200, 800)
    assert len({id(row[0]) for row in rows}) == 1


def test_what_is_too_much_to_unpack_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and a notebook say how much it is, before anything is unpacked; the file is there to download."""
    data = _parquet(pyarrow.table({"a": ["x" * 3_000_000 + str(i) for i in range(2)]}))
    monkeypatch.setattr(tables, "_UNPACKED", 1 << 20)
    with TrackClient(f"file:{tmp_path}/runs.json").new_trial(parameters={}) as trial:
        said = {"kind": "table", "type": PARQUET, "index": 0}
        artifact = trial.log_artifact(data, "big")
        assert artifact is not None
        uri = inline_uri(data, PARQUET)
        trial.protocol.log_trial_artifact(trial.trial, "big", uri, artifact.digest, len(data), media=said)
    medium: Medium = trial.media("big")[0]

    with pytest.raises(CorruptArtifact, match=r"its first rows are 5 MiB, more than the 1 that are unpacked"):
        shown_of(medium)

    assert "more than the 1 that are unpacked" in medium._repr_html_()
    assert len(medium.rows) == 2


def test_large_table_is_in_groups_of_rows() -> None:
    """Who looks at the first rows of a large table unpacks the first group of them."""
    from pyarrow import parquet

    content = table_content("t", {"a": list(range(25_000))}, None)

    assert [parquet.ParquetFile(io.BytesIO(content.data)).metadata.row_group(i).num_rows for i in range(3)] == [
        10_000, 10_000, 5_000,
    ]  # fmt: skip
