"""The order of the modules, what `import track` costs, and what a module must say about itself."""

from __future__ import annotations

import ast
import graphlib
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.children import python

ROOT = Path(__file__).parents[2]

# A module imports only from modules above it, also inside functions and under `if TYPE_CHECKING`: a name needed from
# below means that the code is in the wrong file. A name that ends in `.*` is a folder: its modules share one place,
# and among them there is no circle.
ORDER = (
    # nouns and words
    "track.shown",
    "track.errors",
    "track.fields",
    "track.verbs",
    "track.plain",
    "track.containers.*",
    "track.columns",
    "track.configuration",
    "track.utils.*",
    "track.versioning",
    "track.aggregators.*",
    "track.briefs",
    "track.metrics",
    "track.chrono",
    "track.table",
    "track.structure",
    "track.events",
    "track.serialization",
    "track.report",
    # the contract
    "track.persistence.utils",
    "track.persistence.query.*",
    "track.persistence.buckets.*",
    "track.persistence.contract.*",
    "track.persistence.protocol",
    "track.persistence.state.*",
    "track.persistence.storage",
    "track.persistence.eventprotocol",
    # stores of this machine
    "track.persistence.state",
    "track.persistence.file.*",
    "track.persistence.ephemeral",
    "track.persistence.local",
    "track.persistence.pickled",
    # several at once
    "track.persistence.sink",
    "track.persistence.mirrors",
    "track.persistence.multiplexer",
    "track.persistence.cometml",
    "track.persistence.tensorboard",
    "track.persistence.sinks.*",
    "track.persistence.registry",
    "track.persistence.multi",
    "track.persistence",
    # on the way to a server
    "track.persistence.delivery.*",
    "track.persistence.sql.*",
    "track.persistence.sqlite",
    "track.persistence.cockroach",
    "track.persistence.mongo.*",
    "track.persistence.mongodb",
    "track.persistence.users",
    "track.persistence.rpc.*",
    "track.persistence.server.*",
    "track.persistence.socketed",
    "track.distributed.*",
    # the front
    "track.objectstore",
    "track.frames",
    "track.naming",
    "track.reading",
    "track.rows",
    "track.pointtable",
    "track.lake",
    "track.seeds",
    "track.patterns",
    "track.filters",
    "track.artifacts.*",
    "track.media.*",
    "track.front.*",
    "track.logger",
    "track.client",
    # features over the front
    "track.shape",
    "track.yaml12",
    "track.home",
    "track.tracking.*",
    "track.em.*",
    "track.origin",
    "track.suggesting",
    "track.parameters.*",
    "track.experiment_utils",
    "track.experiment.*",
    "track.functional",
    "track.monitor.*",
    "track.manager.*",
    "track.config",
    "track.dashboard.*",
    "track.importing.*",
    "track",
    # programs and tools
    "track.integrations.*",
    "track.cli.*",
    "track.__main__",
    "track.testing.*",
)

# A folder with a face: from outside, only the names that its `__init__` lists are imported.
FACES = (
    "track.persistence.buckets",
    "track.persistence.contract",
    "track.persistence.state",
    "track.persistence.file",
    "track.persistence.delivery",
    "track.persistence.sql",
    "track.persistence.mongo",
    "track.persistence.rpc",
    "track.persistence.server",
    "track.persistence.sinks",
    "track.front",
    "track.artifacts",
    "track.media",
    "track.em.store",
    "track.em",
    "track.parameters",
    "track.experiment.parts",
    "track.experiment",
    "track.monitor",
    "track.manager.parts",
    "track.manager",
    "track.cli",
    "track.dashboard",
    "track.importing",
    "track.testing",
)

# What is public: doors, the contract, errors, the faces of features. These have `__all__`, and a page in
# docs/reference/api; everything else is internal and free to move.
PUBLIC = (
    "track",
    "track.aggregators.aggregator",
    "track.artifacts",
    "track.chrono",
    "track.cli",
    "track.client",
    "track.config",
    "track.configuration",
    "track.containers.ring",
    "track.containers.series",
    "track.containers.types",
    "track.dashboard",
    "track.distributed.cockroachdb",
    "track.em",
    "track.errors",
    "track.events",
    "track.experiment",
    "track.experiment_utils",
    "track.functional",
    "track.importing",
    "track.integrations",
    "track.integrations.accelerate",
    "track.integrations.catboost",
    "track.integrations.fastai",
    "track.integrations.hydra",
    "track.integrations.ignite",
    "track.integrations.keras",
    "track.integrations.lightgbm",
    "track.integrations.lightning",
    "track.integrations.optuna",
    "track.integrations.ray",
    "track.integrations.sklearn",
    "track.integrations.torch",
    "track.integrations.transformers",
    "track.integrations.xgboost",
    "track.logger",
    "track.manager",
    "track.media",
    "track.metrics",
    "track.monitor",
    "track.persistence",
    "track.persistence.buckets",
    "track.persistence.cockroach",
    "track.persistence.cometml",
    "track.persistence.delivery",
    "track.persistence.ephemeral",
    "track.persistence.eventprotocol",
    "track.persistence.local",
    "track.persistence.mongodb",
    "track.persistence.multi",
    "track.persistence.multiplexer",
    "track.persistence.pickled",
    "track.persistence.protocol",
    "track.persistence.query",
    "track.persistence.registry",
    "track.persistence.sink",
    "track.persistence.sinks",
    "track.persistence.socketed",
    "track.persistence.sqlite",
    "track.persistence.storage",
    "track.persistence.tensorboard",
    "track.persistence.users",
    "track.persistence.utils",
    "track.reading",
    "track.report",
    "track.serialization",
    "track.structure",
    "track.testing",
    "track.tracking",
    "track.tracking.api",
    "track.utils",
    "track.utils.debug",
    "track.utils.delay",
    "track.utils.encrypted",
    "track.utils.eta",
    "track.utils.log",
    "track.utils.out",
    "track.utils.signal",
    "track.utils.stat",
    "track.utils.system",
    "track.utils.throttle",
    "track.versioning",
)

# Packages that only hold modules.
BARE_PACKAGES = ("track.aggregators", "track.containers", "track.distributed")

HEAVY = (
    "asyncio", "fsspec", "multiprocessing", "numpy", "pandas", "rich", "sqlite3", "ssl", "subprocess",
    "track.integrations",
)  # fmt: skip


def _module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module_name(path): path for path in sorted((ROOT / "track").rglob("*.py"))}
MODULES = [name for name in FILES if name not in BARE_PACKAGES]


def _tree(module: str) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def _place(module: str) -> int | None:
    """Return the index of a module in the order, None for one that has no place."""
    for index, entry in enumerate(ORDER):
        package = entry.removesuffix(".*")
        if module == package or (entry != package and module.startswith(f"{package}.")):
            return index
    return None


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the name that `from ... import` names, with the dots of a relative import resolved."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _imports(module: str) -> set[str]:
    """Return the modules of this package that a module imports, anywhere in its text."""
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            names = {f"{base}.{alias.name}" for alias in node.names}
            # A folder may show a function that is named as its module.
            shown = {f"{base}.{name}" for name in _exported(_tree(base)) or ()} if base in FILES else set()
            submodules = (names & FILES.keys()) - shown
            found |= submodules if submodules == names else submodules | {base}
    return {name for name in found if name in FILES and name not in BARE_PACKAGES}


def _loaded(module: str) -> ModuleType:
    """Return a module; what serves a framework that is not installed is tested where that is."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not module.startswith("track.integrations.") or str(error.name).startswith("track"):
            raise
        pytest.skip(f"{module} needs {error.name}, which is not installed")


def _exported(tree: ast.Module) -> list[str] | None:
    """Return the names in `__all__`, None when the module has no literal one."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return None


def _public_names(tree: ast.Module) -> set[str]:
    """Return the public names that a module defines itself, at any depth outside functions and classes."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                part.id
                for target in targets
                for part in ast.walk(target)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            }
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            waiting += ast.iter_child_nodes(node)
    # A module's logger and its type variables are nobody else's business.
    return {name for name in names if not name.startswith("_")} - {"logger", "Result", "Objective"}


def test_every_module_has_a_place() -> None:
    """A new module is put into the order by the person who writes it."""
    homeless = [name for name in MODULES if _place(name) is None]

    assert not homeless, f"place me in the list: {', '.join(homeless)}"


def test_every_place_has_a_module() -> None:
    """The order names nothing that is gone."""
    missing = [entry for entry in ORDER if entry.removesuffix(".*") not in FILES]

    assert not missing, f"in the list, but not in the package: {', '.join(missing)}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_up(module: str) -> None:
    """A module imports only from places above its own in the order, or from its own folder."""
    own = _place(module)
    downwards = [
        name
        for name in sorted(_imports(module))
        if own is not None
        and (place := _place(name)) is not None
        and (place > own or (place == own and not ORDER[own].endswith(".*")))
    ]

    assert not downwards, f"{module} imports from below: {', '.join(downwards)}"


@pytest.mark.parametrize("folder", [entry for entry in ORDER if entry.endswith(".*")])
def test_no_circle_in_a_folder(folder: str) -> None:
    """The modules of a folder have an order among themselves too."""
    inside = [module for module in MODULES if _place(module) == ORDER.index(folder)]

    graphlib.TopologicalSorter({module: _imports(module) & set(inside) for module in inside}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_folders_are_entered_by_their_faces(module: str) -> None:
    """What a folder does not show in its `__init__` is imported only inside the folder."""
    behind = [
        name
        for name in sorted(_imports(module))
        for face in FACES
        if name.startswith(f"{face}.") and not f"{module}.".startswith(f"{face}.") and name not in FACES
    ]

    assert not behind, f"{module} imports from behind a face: {', '.join(behind)}"


@pytest.mark.parametrize("package", BARE_PACKAGES)
def test_a_bare_package_is_a_docstring(package: str) -> None:
    """A package that only holds modules runs nothing when it is imported."""
    body = _tree(package).body

    assert len(body) == 1
    assert ast.get_docstring(_tree(package))


def test_every_folder_is_a_package() -> None:
    """A folder without `__init__.py` would be missing from an installation."""
    folders = {path.parent for path in FILES.values()}

    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize("module", FILES)
def test_module_opens_with_a_docstring(module: str) -> None:
    """A module says what it is for before anything else."""
    assert ast.get_docstring(_tree(module))


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_exported(module: str) -> None:
    """`__all__` names every public name that a public module defines; ruff checks its order."""
    exported = _exported(_tree(module))

    assert exported is not None, f"{module} has no __all__"
    missing = sorted(_public_names(_tree(module)) - set(exported))
    assert not missing, f"not in __all__ of {module}: {', '.join(missing)} (export it, or begin it with _)"


@pytest.mark.parametrize("module", [name for name in MODULES if name not in (*PUBLIC, *FACES)])
def test_internal_modules_export_nothing(module: str) -> None:
    """A module that is not public has no `__all__`."""
    assert _exported(_tree(module)) is None


def test_public_modules_are_documented() -> None:
    """The API has a page for each public module, and for nothing else."""
    pages = [page for page in (ROOT / "docs" / "reference" / "api").glob("*.rst") if page.stem != "index"]

    documented = {page.stem: re.findall(r"^\.\. automodule:: (\S+)$", page.read_text(), re.MULTILINE) for page in pages}

    assert documented == {module: [module] for module in PUBLIC}


@pytest.mark.parametrize("module", PUBLIC)
def test_exported_names_exist(module: str) -> None:
    """`from module import *` works."""
    exported = _exported(_tree(module)) or []

    loaded = _loaded(module)

    assert not [name for name in exported if not hasattr(loaded, name)]


def _own_classes(module: str) -> list[type]:
    """Return the public classes that a module defines."""
    loaded = _loaded(module)
    kinds = [kind for name, kind in vars(loaded).items() if isinstance(kind, type) and not name.startswith("_")]
    return [kind for kind in kinds if kind.__module__ == module]


def _documented(kind: type) -> dict[str, str]:
    """Return the docstrings of the public methods and properties that a class defines."""
    found = {name: value.fget if isinstance(value, property) else value for name, value in vars(kind).items()}
    found = {name: getattr(value, "__func__", value) for name, value in found.items() if not name.startswith("_")}
    return {
        name: value.__doc__ or ""
        for name, value in found.items()
        if inspect.isfunction(value) and not hasattr(value, "__wrapped__")
    }


@pytest.mark.parametrize("module", [name for name in MODULES if name != "track.__main__"])
def test_methods_say_what_they_do_once(module: str) -> None:
    """A public method has a docstring, its own or an inherited one, and no override says its base's again."""
    pytest.importorskip("hypothesis")
    for kind in _own_classes(module):
        for name, text in _documented(kind).items():
            inherited = [getattr(base, name).__doc__ for base in kind.__mro__[1:] if hasattr(base, name)]
            assert text or any(inherited), f"{module}.{kind.__name__}.{name} says nothing"
            assert not text or text not in inherited, f"{module}.{kind.__name__}.{name} repeats what it inherits"


def test_import_track_is_light() -> None:
    """`import track` brings in nothing slow and nothing optional."""
    script = (
        "import sys; before = set(sys.modules); import track; "
        f"print(*sorted((set(sys.modules) - before) & set({HEAVY!r})))"
    )

    done = python("-c", script)

    assert (done.stdout.split(), done.stderr) == ([], "")
