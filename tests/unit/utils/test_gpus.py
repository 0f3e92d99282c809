"""How busy the GPUs are that this process may use."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from track.utils.gpus import gpu_readers, is_unheard


class LibraryNotFound(Exception):
    """What pynvml raises on a machine without the driver."""


class Nvml(ModuleType):
    """Stands in for pynvml: devices are numbers, and the second one tells no power."""

    NVML_TEMPERATURE_GPU = 0

    def __init__(self, count: int) -> None:
        super().__init__("pynvml")
        self.count = count

    def nvmlInit(self) -> None:
        """Begin."""
        if not self.count:
            raise LibraryNotFound

    def nvmlDeviceGetCount(self) -> int:
        """Return how many there are."""
        return self.count

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        """Return a device."""
        return number

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        """Return a part of a device."""
        return 70

    def nvmlDeviceGetUUID(self, device: int) -> Any:
        """Return the name of a device, as older versions do."""
        return f"GPU-{device}{device}aa".encode()

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:
        """Return how busy it is."""
        return SimpleNamespace(gpu=10 * device, memory=1)

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:
        """Return how full it is."""
        return SimpleNamespace(used=device + 1, total=10)

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:
        """Return mW."""
        if device == 1:
            raise RuntimeError("Not Supported")
        return 250_000

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:
        """Return °C."""
        return 60 + device


def _seen(root: Path, environ: dict[str, str] | None = None) -> dict[str, float]:
    seen: dict[str, float] = {}
    for read in gpu_readers(str(root), environ or {}):
        seen.update(read())
    return seen


def test_nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent, percent, W and °C of each device; what one does not tell is left out."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(2))

    assert _seen(tmp_path) == {
        "gpu0.use": 0,
        "gpu0.memory": 10,
        "gpu0.power": 250,
        "gpu0.temperature": 60,
        "gpu1.use": 10,
        "gpu1.memory": 20,
        "gpu1.temperature": 61,
    }


@pytest.mark.parametrize(
    ("said", "uses"),
    [
        ("2,0", [20, 0]),
        ("GPU-33, GPU-11aa", [30, 10]),
        ("1,9,0", [10]),
        ("-1", []),
        ("", []),
        ("GPU-", []),
        ("MIG-ab,2", [700, 20]),
        ("NoDevFiles", []),
    ],
)
def test_only_devices_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, uses: list[int]
) -> None:
    """As CUDA takes the variable; the first that may be used is gpu0, as the program counts them."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(4))

    seen = _seen(tmp_path, {"CUDA_VISIBLE_DEVICES": said})

    assert [seen[f"gpu{number}.use"] for number in range(len(uses))] == uses
    assert f"gpu{len(uses)}.use" not in seen


@pytest.mark.parametrize("module", [Nvml(0), None])
def test_machine_without_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Neither a library that is missing nor a package that is not installed is worth a word."""
    monkeypatch.setitem(sys.modules, "pynvml", module)

    assert _seen(tmp_path) == {}
    assert not is_unheard(str(tmp_path))


def test_driver_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has such a GPU is known to lack the package."""
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: 580")
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert is_unheard(str(tmp_path))


def _card(root: Path, number: int, vendor: str = "0x1002", is_given: bool = True) -> None:
    """Make what the kernel shows of a device."""
    place = root / f"sys/class/drm/card{number}/device"
    files = {
        "vendor": f"{vendor}\n",
        "gpu_busy_percent": f"{number * 10}\n",
        "mem_info_vram_used": "25\n",
        "mem_info_vram_total": "100\n",
        "hwmon/hwmon3/temp1_input": "51000\n",
        f"hwmon/hwmon3/power1_{'average' if number % 2 else 'input'}": "75000000\n",
        f"drm/renderD{128 + number}/dev": "226:128\n",
    }
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if is_given:
        (root / "dev/dri").mkdir(parents=True, exist_ok=True)
        (root / f"dev/dri/renderD{128 + number}").touch()


def test_amd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of AMD that this container was given, in their order; a card for the screen is none."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    _card(tmp_path, 10)
    _card(tmp_path, 2)
    _card(tmp_path, 3, is_given=False)
    _card(tmp_path, 4, vendor="0x8086")
    (tmp_path / "sys/class/drm/card2-HDMI-A-1").mkdir()

    assert _seen(tmp_path) == {
        "gpu0.use": 20,
        "gpu0.memory": 25,
        "gpu0.power": 75,
        "gpu0.temperature": 51,
        "gpu1.use": 100,
        "gpu1.memory": 25,
        "gpu1.power": 75,
        "gpu1.temperature": 51,
    }
    assert _seen(tmp_path, {"HIP_VISIBLE_DEVICES": "1"})["gpu0.use"] == 100
    assert _seen(tmp_path, {"ROCR_VISIBLE_DEVICES": ""}) == {}


_DEVICES = {"GPU-00aa": (30, 1 << 30, 250_000, 61), "GPU-11bb": (70, 3 << 30, 0, 62)}


def _answer(name: str) -> Any:
    """Return what stands in for a function of the driver's library: it fills what it is given, and returns 0."""
    names = list(_DEVICES)

    def fill(*given: Any) -> int:
        # What it is to fill is given last, but for names, of which the length is.
        target = given[-1]._obj if hasattr(given[-1], "_obj") else given[1]
        match name.removesuffix("_v2"):
            case "nvmlDeviceGetCount":
                target.value = len(_DEVICES)
            case "nvmlDeviceGetHandleByIndex":
                ctypes.cast(ctypes.byref(target), ctypes.POINTER(ctypes.c_size_t))[0] = 1 + given[0].value
            case "nvmlDeviceGetHandleByUUID":
                ctypes.cast(ctypes.byref(target), ctypes.POINTER(ctypes.c_size_t))[0] = 2
            case "nvmlDeviceGetUUID":
                target.value = names[_number(given[0])].encode()
            case asked:
                use, used, power, degrees = _DEVICES[names[_number(given[0])]]
                if asked == "nvmlDeviceGetPowerUsage" and not power:
                    return 3  # not supported
                if asked == "nvmlDeviceGetUtilizationRates":
                    target.gpu, target.memory = use, 1
                elif asked == "nvmlDeviceGetMemoryInfo":
                    target.total, target.free, target.used = 4 << 30, 0, used
                else:
                    target.value = power if asked == "nvmlDeviceGetPowerUsage" else degrees
        return 0

    return fill


def _number(handle: Any) -> int:
    return int(ctypes.cast(ctypes.byref(handle), ctypes.POINTER(ctypes.c_size_t))[0]) - 1


@pytest.mark.parametrize(("said", "uses"), [(None, [30, 70]), ("1", [70]), ("GPU-11", [70]), ("MIG-ab,0", [70, 30])])
def test_real_package_is_called_as_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, uses: list[int]
) -> None:
    """Every name, argument and type is one of nvidia-ml-py's: only the driver's library is a stand-in."""
    pynvml: Any = pytest.importorskip("pynvml", reason="needs nvidia-ml-py: pip install nvidia-ml-py")
    monkeypatch.setattr(pynvml, "_LoadNvmlLibrary", lambda: None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer", _answer)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)

    seen = _seen(tmp_path, {} if said is None else {"CUDA_VISIBLE_DEVICES": said})

    assert [seen[f"gpu{number}.use"] for number in range(len(uses))] == uses
    place = uses.index(70)
    assert (seen[f"gpu{place}.memory"], seen[f"gpu{place}.temperature"]) == (75.0, 62.0)
    assert f"gpu{place}.power" not in seen
    if 30 in uses:
        place = uses.index(30)
        assert (seen[f"gpu{place}.memory"], seen[f"gpu{place}.power"]) == (25.0, 250.0)


def test_real_package_without_a_driver_is_silent(tmp_path: Path) -> None:
    """On a machine without a GPU the package raises its own error, and nothing is said."""
    pynvml: Any = pytest.importorskip("pynvml", reason="needs nvidia-ml-py: pip install nvidia-ml-py")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert _seen(tmp_path) == {}
    else:
        pytest.skip("there is a GPU of NVIDIA")
