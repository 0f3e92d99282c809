"""How busy the GPUs are that this process may use: of NVIDIA by its driver's library, of AMD by ``/sys``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from track.utils.cgroups import read_bytes

Reader = Callable[[], Mapping[str, float]]
_WATT, _DEGREE = 1e3, 1e3
_AMD = b"0x1002"
_CARD = re.compile(r"card(\d+)")


def gpu_readers(root: str = "/", environ: Mapping[str, str] = os.environ) -> list[Reader]:
    """Return what reads how busy each GPU is: ``gpu0.use``, ``gpu0.memory``, ``gpu0.power``, ``gpu0.temperature``.

    In percent, percent, W and °C; what a device does not tell is left out. They are counted as this process counts
    them: the first that it may use is ``gpu0``.

    Parameters
    ----------
    root: str
        Where ``dev`` and ``sys`` are.
    environ: mapping
        Says which may be used, as ``CUDA_VISIBLE_DEVICES``.
    """
    known = [*_of_nvidia(environ), *_of_amd(root, environ)]
    return [_named(f"gpu{number}.", parts) for number, parts in enumerate(known)]


def is_unheard(root: str = "/") -> bool:
    """Return whether there is a GPU of NVIDIA, and not the package that asks its driver."""
    if not os.path.exists(f"{root}/proc/driver/nvidia/version"):
        return False
    return _nvml() is None


Parts = dict[str, Callable[[], float]]


def _named(prefix: str, parts: Parts) -> Reader:
    def read() -> dict[str, float]:
        seen = {}
        for name, part in parts.items():
            # A device may be lost, and most know only some of it.
            with suppress(Exception):
                seen[f"{prefix}{name}"] = float(part())
        return seen

    return read


# of NVIDIA


def _nvml() -> Any:
    try:
        import pynvml  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except Exception:  # noqa: BLE001 - a broken installation is none
        return None
    return pynvml


def _of_nvidia(environ: Mapping[str, str]) -> list[Parts]:
    nvml = _nvml()
    if nvml is None:
        return []
    try:
        nvml.nvmlInit()
        handles = list(_handles(nvml, environ.get("CUDA_VISIBLE_DEVICES")))
    except Exception:  # noqa: BLE001 - there is no such driver here, as on most machines
        return []
    return [_nvidia_parts(nvml, handle) for handle in handles]


def _handles(nvml: Any, said: str | None) -> Iterator[Any]:
    """Yield the devices that may be used, in the order of this process."""
    devices = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    if said is None:
        yield from devices
        return
    # Those of which the name is asked may be away.
    words = [word.strip() for word in said.split(",")]
    names = [_text(nvml.nvmlDeviceGetUUID(device)) for device in devices] if any(map(_is_name, words)) else []
    for word in words:
        if word.startswith("MIG-"):
            yield nvml.nvmlDeviceGetHandleByUUID(word)
            continue
        place = _place(word, names, len(devices))
        if place is None:
            # What comes after a name that is none counts as none, too.
            return
        yield devices[place]


def _is_name(word: str) -> bool:
    return word.startswith("GPU-")


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _place(word: str, names: Sequence[str], count: int) -> int | None:
    if word.isdecimal():
        return int(word) if int(word) < count else None
    found = [place for place, name in enumerate(names) if _is_name(word) and name.startswith(word)]
    return found[0] if len(found) == 1 else None


def _nvidia_parts(nvml: Any, handle: Any) -> Parts:
    def memory() -> float:
        found = nvml.nvmlDeviceGetMemoryInfo(handle)
        return 100.0 * float(found.used) / float(found.total)

    return {
        "use": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory": memory,
        "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / _WATT,
        "temperature": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
    }


# of AMD


def _of_amd(root: str, environ: Mapping[str, str]) -> list[Parts]:
    with suppress(OSError):
        folder = f"{root}/sys/class/drm"
        cards = sorted((int(found[1]), name) for name in os.listdir(folder) if (found := _CARD.fullmatch(name)))
        places = [place for _, name in cards if _is_usable(root, place := f"{folder}/{name}/device")]
        for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
            if variable in environ:
                places = _chosen(places, environ[variable])
        return [_amd_parts(place) for place in places]
    return []


def _is_usable(root: str, place: str) -> bool:
    """Return whether it is a GPU of AMD that this container was given."""
    try:
        if read_bytes(f"{place}/vendor").strip() != _AMD:
            return False
        return any(os.path.exists(f"{root}/dev/dri/{name}") for name in os.listdir(f"{place}/drm"))
    except OSError:
        return False


def _chosen(places: Sequence[str], said: str) -> list[str]:
    chosen = []
    for word in said.split(","):
        place = _place(word.strip(), (), len(places))
        if place is None:
            break
        chosen.append(places[place])
    return chosen


def _amd_parts(place: str) -> Parts:
    def sensor(name: str) -> float:
        sensors = f"{place}/hwmon"
        return int(read_bytes(f"{sensors}/{os.listdir(sensors)[0]}/{name}"))

    def power() -> float:
        try:
            return sensor("power1_average") / _WATT / 1e3
        except OSError:
            # As newer ones call it.
            return sensor("power1_input") / _WATT / 1e3

    return {
        "use": lambda: int(read_bytes(f"{place}/gpu_busy_percent")),
        "memory": lambda: (
            100.0 * int(read_bytes(f"{place}/mem_info_vram_used")) / int(read_bytes(f"{place}/mem_info_vram_total"))
        ),
        "power": power,
        "temperature": lambda: sensor("temp1_input") / _DEGREE,
    }
