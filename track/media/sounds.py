"""Sounds and videos."""

from __future__ import annotations

import io
import os
import wave
from typing import Any

from track.errors import InvalidEvent
from track.media.arrays import as_array, numpy_or_none, shape_of
from track.media.content import Content, check_size, is_path, read_path, refuse
from track.plain import to_number

_MOST = 20_000_000
_CHANNELS = 32
_AUDIO = (
    "a sound is an array of samples (N, NxC or CxN; int16, or floats of -1 to 1) with rate=44100, the path of a file, "
    "or its bytes: WAV, MP3, OGG or FLAC"
)
_VIDEO = "a video is the path of a file, or its bytes: MP4, WebM or GIF"


def audio_content(name: str, samples: Any, rate: int | None) -> Content:
    """Return what is stored of samples, or of a file of them; InvalidEvent where they are none."""
    what = f"audio {name!r}"
    if is_path(samples) or isinstance(samples, (bytes, bytearray)):
        data = read_path(what, samples) if is_path(samples) else check_size(what, bytes(samples))
        kind = type_of_recording(data)
        if kind is None or not kind.startswith("audio/"):
            raise InvalidEvent(f"{what}: these bytes are no sound that a browser plays; {_AUDIO}")
        return Content("audio", data, kind)
    array = as_array(samples)
    shape = () if array is None else shape_of(array)
    if len(shape) == 2 and shape[0] <= _CHANNELS < shape[1]:
        # As torchaudio and librosa have them.
        array = array.T if hasattr(array, "T") else [list(sample) for sample in zip(*array, strict=True)]
        shape = shape[::-1]
    if len(shape) not in (1, 2) or 0 in shape or (len(shape) == 2 and shape[1] > _CHANNELS):
        raise refuse(what, samples if array is None else array, _AUDIO)
    number = None if isinstance(rate, bool) else to_number(rate)
    if number is None or not 1 <= number < 2**31:
        raise InvalidEvent(f"{what}: samples need their rate, in samples a second, as in rate=44100")
    channels = shape[1] if len(shape) == 2 else 1
    if shape[0] * channels > _MOST:
        raise InvalidEvent(
            f"{what} has {shape[0] * channels:,} samples, more than the {_MOST:,} that can be shown: trial.log_file "
            "stores a file of any size"
        )
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(int(number))
        file.writeframes(_int16(what, array))
    facts = {"rate": int(number), "seconds": round(shape[0] / int(number), 3)}
    return Content("audio", made.getvalue(), "audio/wav", facts)


def video_content(name: str, video: Any) -> Content:
    """Return what is stored of a video; InvalidEvent where it is none."""
    what = f"video {name!r}"
    if is_path(video):
        path = os.fspath(video)
        with open(path, "rb") as file:
            head = file.read(64)
        data = b""
    elif isinstance(video, (bytes, bytearray)):
        path, data = None, check_size(what, bytes(video))
        head = data[:64]
    else:
        raise refuse(what, video, f"{_VIDEO}; of frames imageio.mimsave makes one")
    kind = type_of_recording(head)
    if kind is None or kind.startswith("audio/"):
        raise InvalidEvent(f"{what}: these bytes are no video that a browser plays; {_VIDEO}")
    return Content("video", data, kind, path=path)


def type_of_recording(data: bytes) -> str | None:
    """Return the type of a sound or a video by its first bytes; None for none that a browser plays."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio/wav"
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6)):
        return "audio/mpeg"
    if data[4:8] == b"ftyp":
        return "video/mp4"
    found = ((b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"), (b"\x1aE\xdf\xa3", "video/webm"), (b"GIF8", "image/gif"))
    return next((kind for magic, kind in found if data.startswith(magic)), None)


def _int16(what: str, array: Any) -> bytes:
    numpy = numpy_or_none()
    if numpy is None:
        import array as plain

        from track.media.arrays import flattened

        flat = list(flattened(array))
        if any(not isinstance(value, (int, float)) for value in flat):
            raise InvalidEvent(f"{what}: not all of it are numbers; {_AUDIO}")
        if any(isinstance(value, float) for value in flat):
            # Not a number is silence.
            flat = [0 if value != value else round(min(max(value, -1.0), 1.0) * 32767) for value in flat]
        return plain.array("h", [min(max(value, -32768), 32767) for value in flat]).tobytes()
    if array.dtype.kind == "f":
        known = numpy.nan_to_num(array.astype(numpy.float64, copy=False), nan=0.0, posinf=1.0, neginf=-1.0)
        array = numpy.rint(numpy.clip(known, -1.0, 1.0) * 32767)
    elif array.dtype == numpy.uint8:
        # As a WAV of eight bits has them.
        array = (array.astype(numpy.int16) - 128) * 256
    made: bytes = numpy.clip(array, -32768, 32767).astype("<i2").tobytes()
    return made
