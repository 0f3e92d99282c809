"""What storing a file costs, beside cp, sha256sum and a plain walk.

A large file, a directory of many small ones, the same again, its download, the memory it takes, and an upload to S3
(SeaweedFS) that is killed half way and gone on with. Times are medians over rounds that take turns; every round has new
copies and a new store. Bytes sent to S3 are counted by a proxy.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import MET, MISSED, Row, against, at_most, fresh, fresh_and_killed, new_trial, run

MEGABYTE = 1 << 20
# Later than this a write is sure to show in a file's times, so that a digest may be remembered.
REST = 2.5


def measure(folder: str, megabytes: int, files: int, rounds: int) -> list[Row]:
    room = Path(folder)
    make_file(room / "large.bin", megabytes)
    make_files(room / "many", files)
    time.sleep(REST)
    rows = large_rows(room, rounds)
    rows += memory_rows(room)
    rows += directory_rows(room, files, rounds)
    shutil.rmtree(room / "many")
    return rows + upload_rows(room, megabytes)


def make_file(path: Path, megabytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(MEGABYTE))


def make_files(folder: Path, files: int) -> None:
    for number in range(files):
        place = folder / f"{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.bin").write_bytes(os.urandom(1024))


def seconds(call: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    start = time.perf_counter()
    call(*arguments, **options)
    return time.perf_counter() - start


def shell(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def large_rows(room: Path, rounds: int) -> list[Row]:
    source = str(room / "large.bin")
    peers, ours, again, unknown = [], [], [], []
    for number in range(rounds):
        place = room / f"large-{number}"
        place.mkdir()
        copied = seconds(shell, "cp", source, str(place / "copy"))
        peers.append(copied + seconds(shell, "sha256sum", source))
        (place / "copy").unlink()
        trial = new_trial(f"file:{place}/runs.json")
        ours.append(seconds(trial.log_file, source))
        again.append(seconds(trial.log_file, source) * 1e3)
        os.utime(source)
        unknown.append(seconds(trial.log_file, source))
        time.sleep(REST)
        trial.finish()
        shutil.rmtree(place)
    speed = statistics.median(peers) / statistics.median(ours)
    verdict = MET if speed >= 0.7 else MISSED
    measured, peer = f"{statistics.median(ours):.2f} s", f"cp + sha256sum: {statistics.median(peers):.2f} s"
    return [
        Row("log_file of a large file, speed", measured, peer, f"{speed:.2f} x (at least 0.7)", verdict),
        at_most("the same file again, known unchanged", statistics.median(again), 10, "ms"),
        Row(
            "the same content, not known", f"{statistics.median(unknown):.2f} s", "one read and a copy that is dropped"
        ),
    ]


def memory_rows(room: Path) -> list[Row]:
    """Peak of a new process that stores the file, beside one that stores a byte."""
    (room / "byte").write_bytes(b"x")
    peak = fresh(store_and_peak, str(room / "memory"), str(room / "large.bin"))
    base = fresh(store_and_peak, str(room / "memory-base"), str(room / "byte"))
    shutil.rmtree(room / "memory")
    return [
        at_most("memory of a process that stores it (peak)", peak, 64, "MiB"),
        Row("  more than for one byte", f"{peak - base:.1f} MiB"),
    ]


def store_and_peak(place: str, source: str) -> float:
    import resource

    os.makedirs(place, exist_ok=True)
    trial = new_trial(f"file:{place}/runs.json")
    trial.log_file(source)
    trial.finish()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def directory_rows(room: Path, files: int, rounds: int) -> list[Row]:
    source = room / "many"
    copies, ours, walks, again, backs, second_copies = [], [], [], [], [], []
    for number in range(rounds):
        place = room / f"many-{number}"
        place.mkdir()
        trial = new_trial(f"file:{place}/runs.json")
        copy = (copies, shell, "cp", "-r", str(source), str(place / "copy"))
        store = (ours, trial.log_directory, source, True)
        # Who is second writes while the disk is still busy with the first.
        for taken, call, *arguments in (copy, store) if number % 2 else (store, copy):
            taken.append(seconds(call, *arguments))
        walks.append(statistics.median(seconds(walk, str(source)) for _ in range(5)))
        again.append(statistics.median(seconds(trial.log_directory, source, recursive=True) for _ in range(5)))
        kept = trial.log_directory(source, recursive=True)
        copy = (second_copies, shell, "cp", "-r", str(source), str(place / "second"))
        back = (backs, kept.download, str(place / "back"))
        for taken, call, *arguments in (back, copy) if number % 2 else (copy, back):
            taken.append(seconds(call, *arguments))
        trial.finish()
        shutil.rmtree(place)
    name = f"log_directory, {files:,} files of 1 KiB"
    return [
        against(name, statistics.median(ours), statistics.median(copies), "cp -r", "s", 2),
        against(
            "the same directory again", statistics.median(again) * 1e3, statistics.median(walks) * 1e3,
            "os.scandir and stat", "ms", 1.3,
        ),
        against("download of it", statistics.median(backs), statistics.median(second_copies), "cp -r", "s", 2),
    ]  # fmt: skip


def walk(folder: str) -> None:
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat()


def upload_rows(room: Path, megabytes: int) -> list[Row]:
    from tests.servers import s3

    if importlib.util.find_spec("s3fs") is None or s3.program() is None:
        return [Row("upload to S3 with a kill half way", "not measured", "needs s3fs and SeaweedFS")]
    from tests.servers.proxy import FaultProxy

    class Counting(FaultProxy):
        sent = 0

        def _pass_on(self, link: Any, direction: Any, data: bytes, target: Any) -> bool:
            if direction == "to server":
                self.sent += len(data)
            return super()._pass_on(link, direction, data, target)

    server = s3.Weed()
    proxy = Counting(server.s3.port)
    try:
        os.environ |= {**server.s3.environment, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        uri = f"file:{room}/s3.json?artifacts=s3://{server.s3.new_bucket()}/files"
        fresh_and_killed(upload_half, uri, str(room / "large.bin"), megabytes)
        first = proxy.sent
        taken = fresh(upload, uri, str(room / "large.bin"))
        return _upload_rows(first, proxy.sent - first, taken, megabytes)
    finally:
        proxy.close()
        server.close()


def _upload_rows(first: int, rest: int, taken: float, megabytes: int) -> list[Row]:
    from track.artifacts.multipart import PART

    total, twice = megabytes * MEGABYTE, first + rest - megabytes * MEGABYTE
    # Requests themselves are sent too: some hundred bytes a part.
    limit = PART + total // PART * 2048 + 65_536
    return [
        Row("sent to S3 before a kill half way", f"{first / MEGABYTE:,.1f} MiB"),
        Row("sent by the upload that goes on", f"{rest / MEGABYTE:,.1f} MiB", f"{taken:.1f} s"),
        Row(
            "sent in all beyond the file's size", f"{twice / MEGABYTE:.2f} MiB",
            f"the open part and requests: {limit / MEGABYTE:.2f} MiB", f"{twice / limit:.2f}",
            MET if twice <= limit else MISSED,
        ),
    ]  # fmt: skip


def upload_half(uri: str, source: str, megabytes: int) -> None:
    from track.artifacts import multipart

    send, half = multipart.MultipartUploads._call, megabytes * MEGABYTE // multipart.PART // 2

    def call(self: Any, method: str, **arguments: Any) -> Any:
        answer = send(self, method, **arguments)
        if method == "upload_part" and arguments["PartNumber"] >= half:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    multipart.MultipartUploads._call = call
    new_trial(uri).log_file(source)


def upload(uri: str, source: str) -> float:
    trial = new_trial(uri)
    taken = seconds(trial.log_file, source)
    trial.finish()
    return taken


if __name__ == "__main__":
    run(__doc__, measure, megabytes=(1024, 24), files=(20_000, 300), rounds=(5, 1))
