"""The order of the modules, what `import track` costs, and what a module must say about itself."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A module imports only from modules above it. Imports inside a function do not count: they run when the program
# is whole. Imports under `if TYPE_CHECKING` do: a type needed from below means that the code is in the wrong
# file. A name that ends in `.*` is a package whose modules share one place and may import one another.
ORDER = (
    # no track imports but as needed
    "track.errors",
    "track.plain",
    "track.containers.ring",
    "track.containers.types",
    "track.containers.columns",
    "track.containers.series",
    "track.containers.lazy",
    "track.utils._canonical",
    "track.utils._stream_state",
    "track.utils._stream_shared",
    "track.utils.stat",
    "track.utils.throttle",
    "track.utils.delay",
    "track.utils.eta",
    "track.utils.out",
    "track.utils.log",
    "track.utils.signal",
    "track.utils._exit_code",
    "track.utils.debug",
    "track.utils.system",
    "track.utils.certificate",
    "track.utils.known_hosts",
    "track.utils.tls",
    "track.utils",
    # the nouns
    "track.versioning",
    "track.configuration",
    "track.utils.encrypted",
    "track.aggregators.base",
    "track.aggregators.aggregator",
    "track.metrics",
    "track.chrono",
    "track.nesting",
    "track.current",
    "track.structure",
    "track._calls",
    # words for facts
    "track.events",
    "track.serialization",
    "track.report",
    # storing
    "track.persistence.utils",
    "track.persistence.protocol",
    "track.persistence.translate",
    "track.persistence.decisions",
    "track.persistence.eventprotocol",
    "track.persistence.registry",
    "track.persistence.query",
    "track.persistence.updates",
    "track.persistence.liveness",
    "track.persistence.storage",
    "track.persistence.openfile",
    "track.persistence.lock",
    "track.persistence.snapshot",
    "track.persistence.copying",
    "track.persistence.users",
    "track.persistence.lines",
    "track.persistence.backlog",
    "track.persistence.journal",
    "track.persistence.filestore",
    "track.persistence.buffered",
    "track.persistence.stores",
    "track.persistence.ephemeral",
    "track.persistence.local",
    "track.persistence.pickled",
    "track.persistence.mirrors",
    "track.persistence.telling",
    "track.persistence.multiplexer",
    "track.persistence.multi",
    "track.persistence.sink",
    "track.persistence.cometml",
    "track.persistence.tensorboard",
    "track.persistence",
    "track.persistence.documents",
    "track.persistence.schema",
    "track.persistence.database",
    "track.persistence.sqlquery",
    "track.persistence.sqlwrite",
    "track.persistence.sql",
    "track.persistence.segment",
    "track.persistence.spill",
    "track.persistence.sending",
    "track.persistence.ending",
    "track.persistence.sender",
    "track.persistence.offline",
    "track.persistence.delivery",
    "track.persistence.sqlite",
    "track.persistence.cockroach",
    "track.persistence.mongouri",
    "track.persistence.mongoschema",
    "track.persistence.mongoclient",
    "track.persistence.mongoquery",
    "track.persistence.mongobuckets",
    "track.persistence.mongoentry",
    "track.persistence.mongowrite",
    "track.persistence.mongodb",
    "track.persistence.wire",
    "track.persistence.messages",
    "track.persistence.link",
    "track.persistence.remote",
    "track.persistence.socketclient",
    "track.persistence.limits",
    "track.persistence.worker",
    "track.persistence.admission",
    "track.persistence.served",
    "track.persistence.calls",
    "track.persistence.answering",
    "track.persistence.gate",
    "track.persistence.running",
    "track.persistence.serving",
    "track.persistence.reception",
    "track.persistence.socketed",
    "track.distributed.cockroachdb",
    # the front
    "track.capture",
    "track.blocks",
    "track.ending",
    "track.showing",
    "track.artifacts.*",
    "track.filing",
    "track.logger",
    "track.choosing",
    "track.client",
    "track.reading",
    "track",
    # features over the front
    "track.tracking.base",
    "track.tracking.places",
    "track.tracking.files",
    "track.tracking.trials",
    "track.tracking.api",
    "track.tracking",
    "track.em.errors",
    "track.em.folders",
    "track.em.texts",
    "track.em.containers",
    "track.em.places",
    "track.em.parcels",
    "track.em.nodes",
    "track.em.store",
    "track.em.download",
    "track.em.remote",
    "track.em.config",
    "track.em.session",
    "track.em.history",
    "track.em.objects",
    "track.em.artifactdata",
    "track.em.artifact",
    "track.em.lineage",
    "track.em.metrics",
    "track.em.environment",
    "track.em.capture",
    "track.em.record",
    "track.em.runfiles",
    "track.em.rundata",
    "track.em.runend",
    "track.em.uploader",
    "track.em.runupload",
    "track.em.run",
    "track.em.functions",
    "track.em.uploading",
    "track.em",
    # programs and tools
    "track.cli.artifacts",
    "track.cli.serve",
    "track.cli.sync",
    "track.cli.user",
    "track.cli",
    "track.__main__",
    "track.testing.*",
)

# Packages that only hold modules: their own file is a docstring, so they need no place.
BARE_PACKAGES = ("track.aggregators", "track.containers", "track.distributed")

HEAVY = ("asyncio", "fsspec", "multiprocessing", "numpy", "pandas", "rich", "sqlite3", "ssl", "subprocess")


def _module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module_name(path): path for path in sorted((ROOT / "track").rglob("*.py"))}
MODULES = [name for name in FILES if name not in BARE_PACKAGES]
PUBLIC = [name for name in MODULES if "._" not in name]


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


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run, or that a type checker reads, when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _outside_functions(child)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """Return the name that `from ... import` names, with the dots of a relative import resolved."""
    if not node.level:
        return node.module or ""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _imports(module: str) -> set[str]:
    """Return the modules of this package that a module imports outside of functions."""
    found = set()
    for node in _outside_functions(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            names = {f"{base}.{alias.name}" for alias in node.names}
            submodules = names & FILES.keys()
            found |= submodules if submodules == names else submodules | {base}
    return {name for name in found if name in FILES and name not in BARE_PACKAGES}


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
    return {name for name in names if not name.startswith("_")} - {"logger", "Result"}


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
    """A module imports only from modules above it in the order."""
    own = _place(module)
    downwards = [
        name
        for name in sorted(_imports(module))
        if own is not None
        and (place := _place(name)) is not None
        and (place > own or (place == own and not ORDER[own].endswith(".*")))
    ]

    assert not downwards, f"{module} imports from below: {', '.join(downwards)}"


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
    """`__all__` names every public name that the module defines; ruff checks its order."""
    exported = _exported(_tree(module))

    assert exported is not None, f"{module} has no __all__"
    missing = sorted(_public_names(_tree(module)) - set(exported))
    assert not missing, f"not in __all__ of {module}: {', '.join(missing)} (export it, or begin it with _)"


@pytest.mark.parametrize("module", PUBLIC)
def test_exported_names_exist(module: str) -> None:
    """`from module import *` works."""
    exported = _exported(_tree(module)) or []

    loaded = importlib.import_module(module)

    assert not [name for name in exported if not hasattr(loaded, name)]


def test_import_track_is_light() -> None:
    """`import track` brings in nothing slow and nothing optional."""
    script = (
        "import sys; before = set(sys.modules); import track; "
        f"print(*sorted((set(sys.modules) - before) & set({HEAVY!r})))"
    )

    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.stdout.split(), done.stderr) == ([], "")
