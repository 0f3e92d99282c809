"""What ``track artifacts`` says of a store that `track.em` uploads to."""

from __future__ import annotations

from track.artifacts import Swept
from track.em.store import Node, find_uploads, sweep, uploads


def list_uploads(uri: str) -> list[str] | None:
    """Return a line for each run and artifact that was uploaded; None where there is no upload store."""
    objects = find_uploads(uri)
    return None if objects is None else [_line(node) for node in uploads(objects)]


def sweep_uploads(uri: str, dry_run: bool) -> Swept | None:
    """Remove what killed uploads have left, and say what that was; None where there is no upload store."""
    objects = find_uploads(uri)
    return None if objects is None else sweep(objects, dry_run)


def _line(node: Node) -> str:
    # Whoever uploaded it has chosen the name.
    path = "".join(letter if letter.isprintable() else "?" for letter in node.path)
    size = sum(file["size"] for file in node.files)
    return f"{path}  {node.kind}  {size:,} bytes in {len(node.files):,} files"
