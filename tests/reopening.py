"""Reading a store in a file again, as a process does that has never seen it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from track.persistence.local import FileProtocol


def reopened(protocol: FileProtocol) -> FileProtocol:
    """Return a protocol on a copy of the store's files: it knows what is on the disk, and nothing else."""
    assert protocol.path is not None
    path = Path(protocol.path)
    folder = tempfile.mkdtemp(dir=path.parent)
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_dir():
            # Artifacts move with their store.
            shutil.copytree(file, Path(folder) / file.name)
        else:
            shutil.copy(file, folder)
    return FileProtocol(f"file:{folder}/{path.name}")
