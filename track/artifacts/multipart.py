"""Uploads to S3 in parts: what was sent before a cut is not sent again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

from track.artifacts.content import CHUNK, Source
from track.artifacts.folder import Unfinished
from track.artifacts.keys import OBJECTS
from track.artifacts.transfer import Advance

PART = 8 << 20
"""Bytes of a part, and of the largest file that is sent in one piece."""

_MOST_PARTS = 10_000


class MultipartUploads:
    """The uploads in parts below a folder (`root`: bucket and prefix) of an `s3fs.S3FileSystem`."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._bucket, _, prefix = root.partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def send(self, source: Source, key: str, digest: str, size: int, advance: Advance) -> None:
        """Send a file, or what an earlier upload left of it; FileChanged, and nothing visible, where it is another."""
        name = f"{self._prefix}{key}"
        upload = self._find(name) or str(self._call("create_multipart_upload", Key=name)["UploadId"])
        parts = self._send_parts(source, name, upload, size, digest, advance)
        self._call("complete_multipart_upload", Key=name, UploadId=upload, MultipartUpload={"Parts": parts})

    def _send_parts(  # noqa: PLR0917 - as they are needed, part by part
        self, source: Source, name: str, upload: str, size: int, digest: str, advance: Advance
    ) -> list[dict[str, Any]]:
        there = {part["PartNumber"]: part for part in self._parts(name, upload)}
        length = part_length(size)
        whole, parts = hashlib.sha256(), []
        for number, data in enumerate(_pieces(source, length), 1):
            whole.update(data)
            mark = _same(there.get(number), data)
            if mark is None:
                answer = self._call("upload_part", Key=name, UploadId=upload, PartNumber=number, Body=data)
                mark = answer["ETag"]
            parts.append({"PartNumber": number, "ETag": mark})
            advance(len(data))
        if whole.hexdigest() != digest:
            self._call("abort_multipart_upload", Key=name, UploadId=upload)
            raise source.changed()
        return parts

    def _find(self, name: str) -> str | None:
        found = [upload for upload in self._uploads(name) if upload["Key"] == name]
        return str(max(found, key=_begun)["UploadId"]) if found else None

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        marks: dict[str, str] = {}
        while True:
            answer = self._call("list_multipart_uploads", Prefix=prefix, **marks)
            yield from answer.get("Uploads") or ()
            if not answer.get("IsTruncated"):
                return
            marks = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker", "")}

    def _parts(self, name: str, upload: str) -> Iterator[dict[str, Any]]:
        marks: dict[str, int] = {}
        while True:
            answer = self._call("list_parts", Key=name, UploadId=upload, **marks)
            yield from answer.get("Parts") or ()
            if not answer.get("IsTruncated"):
                return
            marks = {"PartNumberMarker": int(answer["NextPartNumberMarker"])}

    def unfinished(self) -> list[Unfinished]:
        """Return the uploads that are going on or were broken off."""
        now = time.time()
        left = []
        for upload in self._uploads(f"{self._prefix}{OBJECTS}/"):
            try:
                parts = list(self._parts(upload["Key"], upload["UploadId"]))
            except FileNotFoundError:
                # It was ended meanwhile.
                continue
            sent = sum(part["Size"] for part in parts)
            last = max((part["LastModified"].timestamp() for part in parts), default=_begun(upload))
            token = f"{upload['UploadId']} {upload['Key']}"
            left.append(Unfinished(token, "", sent, now - last, upload["Key"][len(self._prefix) :]))
        return left

    def abort(self, token: str) -> None:
        """Give up an upload that `unfinished` has returned."""
        upload, _, name = token.partition(" ")
        try:
            self._call("abort_multipart_upload", Key=name, UploadId=upload)
        except FileNotFoundError:
            return

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self._bucket, **arguments)


def part_length(size: int) -> int:
    """Return the bytes of a part: the same for every upload of a file, so that parts match."""
    length = PART
    while length * _MOST_PARTS < size:
        length *= 2
    return length


def _pieces(source: Source, length: int) -> Iterator[bytes]:
    count = 0
    while True:
        data = bytearray()
        while len(data) < length:
            more = os.read(source.descriptor, min(CHUNK, length - len(data)))
            if not more:
                break
            data += more
        if not data:
            return
        count += len(data)
        source.check_growth(count)
        yield bytes(data)


def _same(part: dict[str, Any] | None, data: bytes) -> str | None:
    """Return the mark of a part that was sent before, if it holds this data."""
    if part is None or part["Size"] != len(data):
        return None
    mark = str(part["ETag"])
    # A server that encrypts has other marks: then the part is sent again.
    return mark if mark.strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest() else None


def _begun(upload: dict[str, Any]) -> float:
    return float(upload["Initiated"].timestamp())
