"""Where an upload store keeps its bytes: what the URL and the key of a login mean, and errors as logins have them."""

from __future__ import annotations

from typing import Any

from track.errors import BackendUnavailable, InvalidUri
from track.objectstore import FolderStore, FsspecStore, ObjectStore
from track.persistence.utils import mask_secrets, uri_path
from track.utils.files import absolute_path
from track.utils.filesystem import unavailable


def open_place(url: str, key: str | None, settings: dict[str, Any], timeout: int) -> tuple[ObjectStore, str]:
    """Return the object store of a login (options apart from the URL, timeout in seconds), and what records call it.

    InvalidUri where the URL can be no upload store or has an unknown option, ValueError where the key is none of it.
    """
    scheme = url.partition(":")[0] if ":" in url else ""
    if scheme == "file" or url.startswith("/"):
        if settings:
            raise InvalidUri(f"a directory has no option {min(settings)!r}; the options are: user")
        path = uri_path(url) if scheme else url
        if not path:
            raise InvalidUri(f"{url!r} names no directory")
        path = absolute_path(path)
        return FolderStore(path, failed), f"file://{path}"
    shown = mask_secrets(url)
    if not scheme or "://" not in url:
        raise InvalidUri(f"{shown!r} is no URL: it should read like file:///data/store or s3://bucket/prefix")
    if scheme in ("http", "https"):
        raise InvalidUri(
            f"{shown!r} cannot be written to: an upload store is a directory, file:///data/store, or a "
            "place that keeps files, such as s3://bucket/prefix"
        )
    if scheme in ("s3", "s3a"):
        settings = _s3_settings(key, settings, timeout)
    elif key:
        settings = {**settings, "token": key}
    return FsspecStore(url, failed, settings), shown


def _s3_settings(key: str | None, settings: dict[str, Any], timeout: int) -> dict[str, Any]:
    unknown = sorted(settings.keys() - {"endpoint_url", "region"})
    if unknown:
        raise InvalidUri(f"S3 has no option {unknown[0]!r}; the options are: endpoint_url, region, user")
    found: dict[str, Any] = {"config_kwargs": {"connect_timeout": min(timeout, 10), "read_timeout": timeout}}
    if "endpoint_url" in settings:
        found["endpoint_url"] = settings["endpoint_url"]
    if "region" in settings:
        found["client_kwargs"] = {"region_name": settings["region"]}
    if key:
        access, colon, secret = key.partition(":")
        if not colon or not access or not secret:
            raise ValueError("Invalid API Key: for S3 it reads <access key>:<secret>")
        found |= {"key": access, "secret": secret}
    return found


def failed(url: str, error: BaseException | None) -> Exception:
    """Return the error of an upload store: a ValueError where it refuses the key, else a ConnectionError.

    Where requests is installed, the latter is an HTTPError of theirs, too: what people catch.
    """
    if isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError":
        return ValueError(f"Invalid API Key: {mask_secrets(url)} refuses it ({error})")
    said = unavailable(url, error)
    try:
        from requests import HTTPError  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return said

    class Unreachable(BackendUnavailable, HTTPError):  # type: ignore[misc, unused-ignore]
        """The store cannot be reached."""

    return Unreachable(str(said))
