"""What ``track artifacts`` says of a store that `track.em` uploads to."""

from __future__ import annotations

from typing import Any

from track.artifacts import Swept
from track.em.store import Node, find_uploads, sweep, uploads

UPLOAD = ("path", "kind", "files", "bytes")


def list_uploads(uri: str) -> list[dict[str, Any]] | None:
    """Return each run and artifact that was uploaded; None where there is no upload store."""
    objects = find_uploads(uri)
    return None if objects is None else [_row(node) for node in uploads(objects)]


def sweep_uploads(uri: str, dry_run: bool) -> Swept | None:
    """Remove what killed uploads have left, and say what that was; None where there is no upload store."""
    objects = find_uploads(uri)
    return None if objects is None else sweep(objects, dry_run)


def _row(node: Node) -> dict[str, Any]:
    size = sum(file["size"] for file in node.files)
    return {"path": node.path, "kind": node.kind, "files": len(node.files), "bytes": size}


def line_of_upload(row: dict[str, Any]) -> str:
    """Return an upload in a line."""
    # Whoever uploaded it has chosen the name.
    path = "".join(letter if letter.isprintable() else "?" for letter in row["path"])
    return f"{path}  {row['kind']}  {row['bytes']:,} bytes in {row['files']:,} files"
