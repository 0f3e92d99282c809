"""Images: arrays, tensors, those of Pillow, and files of them."""

from __future__ import annotations

import io
import math
from typing import Any

from track.errors import InvalidEvent
from track.media.arrays import as_array, flattened, numpy_or_none, shape_of
from track.media.content import Content, check_size, is_made_by, is_path, read_path, refuse
from track.media.png import encode_png
from track.shown import shown

_CHANNELS = (1, 2, 3, 4)
_LARGEST = 50_000_000
_WAY_OUT = (
    "an image is an array of HxW, HxWx3 or HxWx4 (uint8, or floats of 0 to 1), a tensor of CxHxW, an image of Pillow, "
    "the path of a file, or its bytes"
)
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
# As they are, but for these, a PNG has all modes of Pillow.
_KEPT = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


def image_content(name: str, image: Any) -> tuple[Content, bool]:
    """Return what is stored of an image, and whether values were cut that are not in the range of a pixel.

    Raises InvalidEvent: it is none.
    """
    what = f"image {name!r}"
    if is_path(image):
        return _encoded(what, read_path(what, image)), False
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _encoded(what, check_size(what, bytes(image))), False
    # One of floats is an array of floats.
    if is_made_by(image, "PIL") and (image.mode != "F" or numpy_or_none() is None):
        return _of_pillow(what, image), False
    if is_made_by(image, "matplotlib", "plotly"):
        raise refuse(what, image, f"trial.log_figure({name!r}, figure) is for figures")
    array = as_array(image)
    if array is None:
        raise refuse(what, image, _WAY_OUT)
    is_first = is_made_by(image, "torch")
    return _of_array(what, array, is_first)


def type_of_image(data: bytes) -> str | None:
    """Return the type of an image by its first bytes; None for no image that a browser shows."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/svg+xml" if b"<svg" in data[:1024] else None


def _encoded(what: str, data: bytes) -> Content:
    kind = type_of_image(data)
    if kind is None:
        raise InvalidEvent(f"{what}: these bytes are no PNG, JPEG, GIF, WebP or SVG; {_WAY_OUT}")
    return Content("image", data, kind)


def _of_pillow(what: str, image: Any) -> Content:
    made = io.BytesIO()
    try:
        if image.mode not in _KEPT:
            image = image.convert("I;16" if image.mode == "I" else "RGB")
        image.save(made, "PNG", compress_level=1)
    except (ValueError, OSError) as error:
        raise InvalidEvent(f"{what}: of {shown(image, 100)} no PNG can be made: {error}") from error
    return Content("image", made.getvalue(), "image/png", {"width": image.width, "height": image.height})


def _of_array(what: str, array: Any, is_first: bool) -> tuple[Content, bool]:
    shape = shape_of(array)
    if len(shape) == 4 and shape[0] > 1:
        raise refuse(
            what, array, "log each image of a batch, or one grid of them, as torchvision.utils.make_grid makes"
        )
    if len(shape) == 4:
        array, shape = array[0], shape[1:]
    if is_first and len(shape) == 3 and shape[0] in _CHANNELS:
        array, shape = _channels_last(array), (*shape[1:], shape[0])
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _CHANNELS) or 0 in shape:
        is_turned = len(shape) == 3 and shape[0] in _CHANNELS and 0 not in shape
        raise refuse(what, array, "of CxHxW give image.transpose(1, 2, 0)" if is_turned else _WAY_OUT)
    height, width, channels = (*shape, 1)[:3]
    if height * width > _LARGEST:
        raise refuse(what, array, f"an image has at most {_LARGEST:,} pixels: trial.log_file stores what is larger")
    pixels, is_cut = (_bytes_of_array if numpy_or_none() else _bytes_of_lists)(what, array)
    if len(pixels) != height * width * channels:
        raise InvalidEvent(f"{what}: its rows are not of one length; {_WAY_OUT}")
    data = encode_png(pixels, width, height, channels)
    return Content("image", data, "image/png", {"width": width, "height": height}), is_cut


def _channels_last(array: Any) -> Any:
    if hasattr(array, "transpose"):
        return array.transpose(1, 2, 0)
    return [[list(pixel) for pixel in zip(*row, strict=True)] for row in zip(*array, strict=True)]


def _bytes_of_array(what: str, array: Any) -> tuple[bytes, bool]:
    numpy = numpy_or_none()
    if array.dtype == numpy.uint8:
        return array.tobytes(), False
    if array.dtype.kind == "b":
        return (array.astype(numpy.uint8) * 255).tobytes(), False
    low, high = array.min(), array.max()
    if array.dtype.kind in "ui":
        return numpy.clip(array, 0, 255).astype(numpy.uint8).tobytes(), bool(low < 0 or high > 255)
    # Not a number is black.
    known = numpy.nan_to_num(array.astype(numpy.float32, copy=False), nan=0.0, posinf=1.0, neginf=0.0)
    scaled = (numpy.clip(known, 0.0, 1.0) * 255.0 + 0.5).astype(numpy.uint8)
    return scaled.tobytes(), not bool(low >= 0.0 and high <= 1.0)


def _bytes_of_lists(what: str, rows: Any) -> tuple[bytes, bool]:
    flat = list(flattened(rows))
    if any(not isinstance(value, (int, float)) for value in flat):
        raise InvalidEvent(f"{what}: not all of it are numbers; {_WAY_OUT}")
    if all(isinstance(value, int) for value in flat):
        scale = 255 if all(isinstance(value, bool) for value in flat) else 1
        return bytes(min(max(value * scale, 0), 255) for value in flat), any(not 0 <= value <= 255 for value in flat)
    known = [0.0 if math.isnan(value) else min(max(value, 0.0), 1.0) for value in flat]
    return bytes(int(value * 255.0 + 0.5) for value in known), known != flat
