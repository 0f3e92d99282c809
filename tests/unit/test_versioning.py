"""Identities: canonical hashes, digests of files, commits."""

from __future__ import annotations

import collections
import dataclasses
import enum
import hashlib
import math
import os
import subprocess
import sys
import types
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.children import ROOT, printed_by, python
from track.utils._canonical import encode
from track.versioning import (
    HASH_VERSION,
    compute_hash,
    compute_version,
    get_file_version,
    get_git_version,
    is_iterable,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


class _Colour(enum.Enum):
    RED = "red"


class _Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class _Optimizer:
    name: str
    lr: float
    known: dataclasses.InitVar[int] = 0


def _shape(value: object) -> object:
    """Return the value in a form that compares equal exactly where the hash must be equal."""
    if isinstance(value, list):
        return ("list", *map(_shape, value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, _shape(item)) for key, item in value.items()))
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value + 0.0)
    return (type(value).__name__, value)


@given(values, values)
def test_hashes_are_equal_exactly_for_equal_values(one: object, other: object) -> None:
    """Neither type, nesting nor content can be confused."""
    assert (encode(one) == encode(other)) == (_shape(one) == _shape(other))


@given(st.dictionaries(st.text(min_size=1), values, min_size=1))
def test_order_of_keys_does_not_matter(configuration: dict[str, object]) -> None:
    """Keywords and dict items may come in any order, at any depth."""
    backwards = dict(reversed(configuration.items()))

    assert compute_hash(**configuration) == compute_hash(**backwards)
    assert compute_hash([configuration]) == compute_hash([backwards])


def test_digest_never_changes() -> None:
    """Stored trials are found by these digits: a new encoding needs a new HASH_VERSION."""
    digest = compute_hash("train", "v1", None, lr=0.1, layers=[64, 10], seed=-(2**70), flags={"a": True, "b": None})

    assert HASH_VERSION == 1
    assert digest == "f7df2e545cb1d8fb9d9e3982430082cc9f6678ed84486ced0f64f834efa9acd9"


def test_digest_is_that_of_the_documented_bytes() -> None:
    """The table in the docstring is the encoding."""

    def tagged(tag: bytes, payload: bytes) -> bytes:
        return tag + len(payload).to_bytes(8, "big") + payload

    arguments = tagged(b"l", tagged(b"s", b"a"))
    keywords = tagged(b"m", tagged(b"s", b"x") + tagged(b"i", b"\xff"))

    assert compute_hash("a", x=-1) == hashlib.sha256(arguments + keywords).hexdigest()


def test_digest_is_the_same_in_another_process() -> None:
    """Neither string hashing nor memory addresses take part."""
    script = (
        "from track.versioning import compute_hash;print(compute_hash({'a', 'b', 'c'}, object(), len, f=lambda: 0))"
    )

    digests = {printed_by(script, PYTHONHASHSEED=seed) for seed in ("1", "2")}

    assert len(digests) == 1


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ((None, "a", None), ("a",)),
        (([1, 2],), ((1, 2),)),
        (({1, 2},), (frozenset((2, 1)),)),
        ((0.0,), (-0.0,)),
        ((math.nan,), (-math.nan,)),
        ((_Colour.RED,), ("red",)),
        ((_Level.HIGH,), (3,)),
        ((PurePosixPath("a/b"),), ("a/b",)),
        ((_Optimizer("sgd", 0.1),), ({"name": "sgd", "lr": 0.1},)),
        ((collections.OrderedDict(b=1, a=2),), ({"a": 2, "b": 1},)),
        ((types.MappingProxyType({"a": 1}),), ({"a": 1},)),
        ((bytearray(b"x"),), (b"x",)),
    ],
)
def test_same_value_in_another_type_is_the_same(one: tuple[object, ...], same: tuple[object, ...]) -> None:
    """What means the same configuration has one identity."""
    assert compute_hash(*one) == compute_hash(*same)


def test_none_keyword_is_an_absent_keyword() -> None:
    """None at the top means not given; inside a container it is a value."""
    assert compute_hash(a=1, b=None) == compute_hash(a=1)
    assert compute_hash({"a": None}) != compute_hash({})
    assert compute_hash([None]) != compute_hash([])


@pytest.mark.parametrize(
    "different",
    [
        (1, 1.0, True, "1", b"1", [1], {1}, {1: 1}, complex(1)),
        (("ab", "c"), ("a", "bc"), ("abc",), (("ab", "c"),)),
        ({"a": {"lr": 1}}, {"a": {"lr": 2}}, {"a": {"lr": "1"}}),
        (2**32, 2**64, -(2**64), -1, 255, 0, -128, 128),
        (range(3), range(4), datetime(2020, 1, 1), datetime(2020, 1, 2)),
        (int, float, len, print),
    ],
)
def test_different_values_are_different(different: tuple[object, ...]) -> None:
    """Values that the first implementation mixed up, or failed for, are told apart."""
    digests = {compute_hash(value) for value in different}

    assert len(digests) == len(different)


def test_keywords_are_not_a_dictionary_argument() -> None:
    """The way a value is passed is part of the identity."""
    assert len({compute_hash({"a": 1}), compute_hash(a=1), compute_hash(["a", 1]), compute_hash("a", 1)}) == 4


def test_numpy_scalars_are_python_scalars() -> None:
    """A learning rate from numpy is the same learning rate."""
    numpy = pytest.importorskip("numpy")

    scalars = numpy.float64(0.5), numpy.float32(0.5), numpy.int64(-3), numpy.bool_(True), numpy.str_("s")

    assert compute_hash(*scalars) == compute_hash(0.5, 0.5, -3, True, "s")
    assert len(compute_hash(numpy.longdouble(1), numpy.datetime64("2020-01-01"))) == 64


def test_numpy_arrays_are_type_shape_and_content() -> None:
    """Layout and byte order in memory do not matter; everything else does."""
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6, dtype="<i4").reshape(2, 3)

    assert compute_hash(array) == compute_hash(array.astype(">i4")) == compute_hash(numpy.asfortranarray(array))
    assert (
        len(
            {
                compute_hash(other)
                for other in (
                    array,
                    array.T,
                    array.ravel(),
                    array.astype("i8"),
                    array + 1,
                    array.tolist(),
                    array.astype(object),
                )
            }
        )
        == 7
    )
    assert compute_hash(numpy.array(["a", None], object)) == compute_hash(numpy.array(["a", None], object))


def test_torch_values_are_recognised_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scalar tensor is its number; another one is its type, shape and content."""

    class Tensor:
        dtype = "torch.float32"

        def __init__(self, content: object, *shape: int) -> None:
            self.content, self.shape = content, shape

        def dim(self) -> int:
            return len(self.shape)

        def item(self) -> object:
            return self.content

        tolist = item

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(Tensor=Tensor))  # type: ignore[arg-type]

    assert compute_hash(Tensor(0.5)) == compute_hash(0.5)
    tensors = (Tensor([1.0], 1), Tensor([2.0], 1), Tensor([1.0], 1, 1))
    assert len({compute_hash(value) for value in (*tensors, [1.0])}) == 4


def test_version_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    """The digest is that of the content, however large the file."""
    file = tmp_path / "script.py"
    content = os.urandom(3 << 20)
    file.write_bytes(content)

    assert get_file_version(str(file)) == hashlib.sha256(content).hexdigest() == compute_version([file])


def test_version_of_files_depends_on_their_order(tmp_path: Path) -> None:
    """The contents are joined as given."""
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")

    assert compute_version([one, two]) == hashlib.sha256(b"abc").hexdigest()
    assert compute_version([two, one]) != compute_version([one, two])


def test_missing_file_has_no_version(tmp_path: Path) -> None:
    """A wrong name is an error."""
    with pytest.raises(FileNotFoundError, match="absent"):
        get_file_version(str(tmp_path / "absent"))


def test_single_name_is_not_a_list_of_files() -> None:
    """The letters of a name are not files."""
    with pytest.raises(TypeError, match="takes a list of files"):
        compute_version("script.py")


def _run_script(tmp_path: Path, *arguments: str, **files: str) -> str:
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    done = python(*arguments, cwd=tmp_path, PYTHONPATH=os.pathsep.join((str(ROOT), str(tmp_path))))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_default_version_is_the_digest_of_the_script(tmp_path: Path) -> None:
    """The executed file is what is versioned, also when a module of it asks."""
    script = "import helper; helper.show()\n"
    helper = "from track.versioning import default_version_hash\ndef show(): print(default_version_hash())\n"

    version = _run_script(tmp_path, "main.py", main=script, helper=helper)

    assert version == get_file_version(tmp_path / "main.py")


def test_default_version_without_a_script_is_that_of_the_outermost_file(tmp_path: Path) -> None:
    """`python -c` that calls into a file is versioned by that file."""
    helper = "from track.versioning import default_version_hash\ndef show(): print(default_version_hash())\n"

    version = _run_script(tmp_path, "-c", "import helper; helper.show()", helper=helper)

    assert version == get_file_version(tmp_path / "helper.py")


def test_default_version_is_that_of_the_script_as_it_is_now(tmp_path: Path) -> None:
    """A script that is replaced while it runs, as `%run` in a notebook runs it again, has another version."""
    show = "from track.versioning import default_version_hash as version; print(version()); "
    script = f"{show} open(__file__, 'a').write('# more'); print(version())"

    first, second = _run_script(tmp_path, "main.py", main=script).split()

    assert first != second == get_file_version(tmp_path / "main.py")


def test_default_version_of_a_prompt_is_a_fixed_word(tmp_path: Path) -> None:
    """Where no file of the user's is being executed there is nothing to digest."""
    command = "from track.versioning import default_version_hash; print(default_version_hash())"

    assert _run_script(tmp_path, "-c", command) == "interactive"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, of 2020-01-02 03:04:05 +02:00."""
    author = {
        f"GIT_{who}_{what}": f"{who}@example.com".lower()
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    date = {"GIT_COMMITTER_DATE": "2020-01-02T03:04:05+02:00", "GIT_CONFIG_GLOBAL": os.devnull}
    (tmp_path / "module.py").write_text("", encoding="utf-8")
    for arguments in (["init", "-q"], ["add", "module.py"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, env={**os.environ, **author, **date}, check=True)
    return tmp_path


def test_commit_and_its_time(repository: Path) -> None:
    """Twenty digits of the commit, and the time the committer made it, with its zone."""
    full = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout
    module = types.ModuleType("module")
    module.__file__ = str(repository / "module.py")

    commit, date = get_git_version(module)

    assert commit == full[:20]
    assert date == datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert date.utcoffset() == timedelta(hours=2)
    assert get_git_version(repository / "module.py") == (commit, date)


def test_environment_of_a_hook_does_not_mislead(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a hook of another repository the answer is still about the module's."""
    expected = get_git_version(repository / "module.py")

    monkeypatch.setenv("GIT_DIR", str(repository / "elsewhere"))

    assert get_git_version(repository / "module.py") == expected != (None, None)


def test_no_repository_is_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without repository, file, or git there is no commit, and no error."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    outside = tmp_path / "module.py"

    assert get_git_version(outside) == (None, None)
    assert get_git_version(tmp_path / "absent" / "module.py") == (None, None)
    assert get_git_version(types.ModuleType("namespace")) == (None, None)
    assert get_git_version(sys) == (None, None)

    monkeypatch.setenv("PATH", "")
    assert get_git_version(outside) == (None, None)


@pytest.mark.parametrize(("answer"), ["", "abc", "abc x y z +0000", "abc 1 y z +aaaa", f"abc {10**30} y z +0000"])
def test_strange_answer_of_git_is_no_version(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that prints something else is as good as none."""
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert get_git_version("module.py") == (None, None)


@pytest.mark.parametrize(("value", "expected"), [([], True), ("a", True), (iter(()), True), (1, False), (None, False)])
def test_is_iterable(value: object, expected: bool) -> None:
    """What `iter` accepts is iterable."""
    assert is_iterable(value) is expected
