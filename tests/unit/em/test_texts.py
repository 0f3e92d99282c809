"""The YAML of runs: what it looks like, and that any reader finds in it what was written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.children import python
from track.em.texts import parse, read_list, read_mapping, write_list, write_mapping
from track.errors import CorruptJournal
from track.yaml12 import flow

yaml = pytest.importorskip("yaml")

# PyYAML refuses a key of more than 1,024 characters.
TEXT = st.text(max_size=50)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(DATA)
def test_any_yaml_reader_agrees(value: Any) -> None:
    """PyYAML's safe loader and our own reader return what was written, whatever it is."""
    text = flow(value).encode("utf-8")

    assert repr(yaml.safe_load(text)) == repr(value)
    assert repr(parse(text)) == repr(value)


@given(st.dictionaries(TEXT, DATA, max_size=5))
def test_mapping_in_a_file(tmp_path_factory: pytest.TempPathFactory, mapping: dict[str, Any]) -> None:
    """A mapping is one line a key, and comes back by either reader."""
    path = tmp_path_factory.mktemp("mapping") / "file.yaml"

    write_mapping(str(path), mapping)

    assert repr(read_mapping(str(path))) == repr(mapping)
    assert repr(yaml.safe_load(path.read_bytes())) == repr(mapping)


def test_file_is_for_people(tmp_path: Path) -> None:
    """Keys stand as they are, unless YAML would take them for something else."""
    path = tmp_path / "file.yaml"

    write_mapping(str(path), {"lr": 1e-05, "layers": [64, 10], "on": True, "a b": "é", "none": None})

    assert path.read_text(encoding="utf-8") == 'lr: 1.0e-05\nlayers: [64, 10]\n"on": true\n"a b": "é"\nnone: null\n'


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, ".nan"), (math.inf, ".inf"), (-math.inf, "-.inf"), (1e22, "1.0e+22")]
)
def test_numbers_of_yaml(value: float, text: str) -> None:
    """Numbers are written as YAML 1.1 knows them."""
    assert flow(value) == text


def test_file_of_another_program(tmp_path: Path) -> None:
    """Block style, comments and plain words are read, too."""
    path = tmp_path / "file.yaml"
    path.write_text("# by hand\nname: cnn keras\nhparams:\n  lr: 0.1\nlabels:\n- Keras\n")

    assert read_mapping(str(path)) == {"name": "cnn keras", "hparams": {"lr": 0.1}, "labels": ["Keras"]}


def test_list_in_a_file(tmp_path: Path) -> None:
    """A list is one line an item; an empty one is a list as well."""
    path = tmp_path / "file.yaml"
    for items in ([{"path": "a/1.png", "size": 3}, {"path": "b", "size": None}], []):
        write_list(str(path), items)

        assert read_list(str(path)) == items == yaml.safe_load(path.read_bytes())


@pytest.mark.parametrize("content", ["- a\n", "just words", "a: [1\n", "a: !!python/object/apply:os.getcwd []\n"])
def test_what_is_no_mapping_is_said(tmp_path: Path, content: str) -> None:
    """The error names the file; nothing in a file makes an object or runs."""
    path = tmp_path / "file.yaml"
    path.write_text(content)

    with pytest.raises(CorruptJournal, match=r"file\.yaml"):
        read_mapping(str(path))


def test_own_files_need_no_yaml_package(tmp_path: Path) -> None:
    """Without PyYAML a run is made, logged to and loaded; a file of another program says what is missing."""
    script = (
        "import sys; sys.modules['yaml'] = None\n"
        "from track import em\n"
        "run = em.create_run(name='bare', hparams={'lr': 1e-5, 'on': [1, {'a': None}]}, labels=['x'])\n"
        "run.log('train', {'loss': 0.5}, step=1)\n"
        "run.finish()\n"
        "again = em.load_run(run.local)\n"
        "assert again.to_dict() == run.to_dict()\n"
        "import pathlib; pathlib.Path('config.yaml').write_text('hparams:\\n  lr: 1\\n')\n"
        "try:\n    em.create_run('config.yaml')\n"
        "except ImportError as error:\n    print(error)\n"
    )

    done = python("-W", "error", "-c", script, cwd=tmp_path)

    assert (done.stdout, done.stderr) == (
        'reading YAML of other programs needs PyYAML: run pip install ".[em]" in a checkout of track-trials\n',
        "",
    )
