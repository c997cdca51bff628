"""What every format promises: its files run, give what the model gives, and are known by their name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from colours import NAMES, colour_detector, images, plan_of

from onelook.errors import CheckpointError, DeviceError, SettingsError
from onelook.exports.formats import EXPORTERS, format_of, require
from onelook.exports.metadata import Metadata
from onelook.exports.opening import load_runnable, open_export
from onelook.inference.backend import TorchBackend, predict_all
from onelook.settings.export import FORMAT_NAMES

CPU = torch.device("cpu")
SLOW = {"ncnn", "executorch", "coreml", "litert"}


def skip_without(name: str, packages: tuple[str, ...]) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        pytest.skip(f"{name} needs {missing}")


def test_settings_know_all_formats() -> None:
    assert tuple(EXPORTERS) == FORMAT_NAMES
    assert len({kind.ending for kind in EXPORTERS.values()}) == len(EXPORTERS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in EXPORTERS])
def test_an_export_gives_what_the_model_gives(name: str, written: Callable[[str], Path]) -> None:
    kind = EXPORTERS[name]
    skip_without(name, (*kind.makers, *kind.runners))
    if name == "tensorrt" and not torch.cuda.is_available():
        pytest.skip("TensorRT needs a GPU")
    path = written(name)
    assert format_of(path) == name
    if not kind.runs_here:
        return
    backend = open_export(path, torch.device("cuda", 0) if name == "tensorrt" else CPU)
    given = images(2, 64, 96)
    expected = TorchBackend(colour_detector()).predict(given)
    found = predict_all(backend, given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert (backend.names, backend.stride, backend.frame_hw, backend.max_batch) == (NAMES, 8, (64, 96), 1)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "executorch" else ()) for n in EXPORTERS]
)
def test_what_is_no_export_is_refused(name: str, tmp_path: Path) -> None:
    kind = EXPORTERS[name]
    skip_without(name, kind.runners)
    path = tmp_path / f"x{kind.ending}"
    with pytest.raises(CheckpointError, match="does not exist"):
        open_export(path, CPU)
    wrong, right = tmp_path / "wrong" / path.name, path
    wrong.parent.mkdir()
    is_folder = kind.is_folder or kind.is_package
    (right if is_folder else wrong).mkdir()
    (wrong if is_folder else right).write_bytes(b"nothing of this kind")
    with pytest.raises(CheckpointError, match=r"is a (file|folder)"):
        open_export(wrong, CPU)
    with pytest.raises((CheckpointError, DeviceError)):
        open_export(right, CPU)


def test_weights_and_exports_are_told_apart_by_their_names() -> None:
    found = {str(path): format_of(Path(path)) for path in ("a/best.onnx", "best_openvino", "best.safetensors", "y.pt")}
    assert found == {"a/best.onnx": "onnx", "best_openvino": "openvino", "best.safetensors": None, "y.pt": None}


def test_a_missing_package_is_named_with_its_command() -> None:
    with pytest.raises(
        SettingsError, match=r'packages no_such, nor_this, which are not installed\nhint: pip install "o'
    ):
        require("onnx", ("no_such", "torch", "nor_this", "no_such"))
    require("onnx", ("torch",))


def test_devices_of_exports_are_checked(written: Callable[[str], Path]) -> None:
    path = written("openvino")
    with pytest.raises(DeviceError, match="OpenVINO exports run on the CPU, not on `cuda:0`"):
        open_export(path, torch.device("cuda", 0))
    with pytest.raises(DeviceError, match="`device` is `99`"):
        load_runnable(path, "99")
    assert not isinstance(load_runnable(path), TorchBackend)


def test_metadata_is_kept_beside_the_files_of_a_folder(written: Callable[[str], Path], tmp_path: Path) -> None:
    path = shutil.copytree(written("openvino"), tmp_path / written("openvino").name)
    assert sorted(item.name for item in path.iterdir()) == ["metadata.json", "model.bin", "model.xml"]
    (path / "model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"has no file `model\.bin`"):
        open_export(path, CPU)
    (path / "metadata.json").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match=r"`metadata\.json` cannot be read"):
        open_export(path, CPU)
    (path / "metadata.json").unlink()
    with pytest.raises(CheckpointError, match="says nothing about its classes"):
        open_export(path, CPU)


def test_a_plan_says_what_it_exports() -> None:
    plan = plan_of(batch=3)
    assert plan.example().shape == (3, 3, 64, 96) and isinstance(plan.metadata, Metadata)
