"""Where a run takes place: the machine, the packages, the repository. Nothing is imported to find out."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from track.utils.git import ask_git, ask_text, head_of, remote_of
from track.utils.system import get_gpu_name, hostname

_PACKAGES = (
    "numpy", "pandas", "tensorflow", "torch", "torchvision", "pytorch_lightning", "lightning", "keras", "sklearn",
    "nltk", "track",
)  # fmt: skip
_FRAMEWORKS = {
    "tensorflow": "TensorFlow", "torch": "PyTorch", "pytorch_lightning": "PyTorch Lightning", "sklearn": "scikit-learn",
}  # fmt: skip


def platform_facts() -> dict[str, Any]:
    """Return what this machine and this Python are: names and versions, of packages that are imported already."""
    loaded = {name: sys.modules[name] for name in _PACKAGES if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "")) for name, module in loaded.items()}
    facts = {
        "hostname": hostname(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "pypkgs": {name: version for name, version in versions.items() if version},
        "framework": ", ".join(label for name, label in _FRAMEWORKS.items() if name in loaded),
        "cpus": os.cpu_count(),
    }
    gpu = get_gpu_name() if "torch" in loaded or "tensorflow" in loaded else None
    return facts if gpu is None else {**facts, "gpu": gpu}


def git_facts(folder: str | None = None) -> dict[str, Any]:
    """Return the repository and commit of a folder, credentials cut out; empty without, ``branch`` None on none."""
    folder = folder or os.getcwd()
    root = ask_text(folder, "rev-parse", "--show-toplevel")
    if not root:
        return {}
    commit, branch = head_of(folder)
    status = ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "local_path": root,
        "remote_url": remote_of(folder).replace("***@", "") or None,
        "branch": branch or None,
        "commit": commit or None,
        "is_dirty": None if status is None else bool(status),
        "entrypoint": _entrypoint(root),
    }


def _entrypoint(root: str) -> str | None:
    """Return the script that runs, relative to the repository; None where it is not in it."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(script, str):
        return None
    relative = os.path.relpath(os.path.realpath(script), os.path.realpath(root))
    return None if relative.startswith(os.pardir) else relative
