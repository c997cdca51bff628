"""The verbs of the library as plain functions with keywords; each does what the command of its name does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onelook.callbacks.console import ConsoleProgress
from onelook.errors import SettingsError
from onelook.inference.detection_results import DetectResult
from onelook.inference.detector import Detector
from onelook.recipes import benchmark as benchmark_recipe
from onelook.recipes import check as check_recipe
from onelook.recipes import detect as detect_recipe
from onelook.recipes import download as download_recipe
from onelook.recipes import evolve as evolve_recipe
from onelook.recipes import export as export_recipe
from onelook.recipes import folds as folds_recipe
from onelook.recipes import info as info_recipe
from onelook.recipes import report as report_recipe
from onelook.recipes import serve as serve_recipe
from onelook.recipes import validate as validate_recipe
from onelook.recipes.convert import convert as convert
from onelook.recipes.download_weights import local_weights
from onelook.recipes.launch import processes_to_start, train_on_devices
from onelook.recipes.split_dataset import SplitResult, split_dataset
from onelook.recipes.train_result import TrainResult
from onelook.service.answers import Health
from onelook.settings.build import build_settings
from onelook.settings.detect import LoadSettings
from onelook.settings.validate import ValidateSettings
from onelook.training.callback import Callback

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from onelook.settings.keywords import (
        BenchmarkKeywords,
        CheckKeywords,
        DetectKeywords,
        DownloadKeywords,
        EvolveKeywords,
        ExportKeywords,
        InfoKeywords,
        LoadKeywords,
        ServeKeywords,
        SplitKeywords,
        TrainKeywords,
        ValidateKeywords,
    )


def train(
    data: str | Path | None = None,
    *,
    callbacks: Sequence[Callback | str | Path] | None = None,
    **settings: Unpack[TrainKeywords],
) -> TrainResult:
    """Train a detector; the same as `onelook train`.

    Args:
        data: dataset YAML; may be left out with `resume`.
        callbacks: observers, or Python files that define some; by default the progress display of the command line.
        settings: see `TrainSettings`, for example `cfg="yolov5n", epochs=40, imgsz=320`.

    Raises:
        OnelookError: a setting, the data or the model cannot be used.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; the run is saved, `train(resume=True)` resumes it.
    """
    if "folds" in settings:
        raise SettingsError("`train` trains once, not on `folds`", hint="use `onelook.train_folds(folds, ...)`")
    observers, files = _observers_and_files([ConsoleProgress()] if callbacks is None else callbacks)
    given = _with("callbacks", files or None, settings)
    return train_on_devices(_with("data", data, given), callbacks=observers)


def train_folds(
    folds: str | Path | None = None,
    *,
    callbacks: Sequence[Callback | str | Path] | None = None,
    observer: folds_recipe.Observer | None = None,
    **settings: Unpack[TrainKeywords],
) -> folds_recipe.FoldsResult:
    """Train on each fold of a dataset with the same settings and sum up; the same as `onelook train --folds`.

    Args:
        folds: folder that `onelook split --folds` made; may be left out with `resume`.
        callbacks: as for `train`; they observe the training on every fold.
        observer: called after every fold with its score and the number of folds.
        settings: see `TrainSettings`; all but `data`.

    Raises:
        OnelookError: a setting, the model or the data of any fold cannot be used.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1; `train_folds(resume=FOLDER)` resumes them.
    """
    observers, files = _observers_and_files([ConsoleProgress()] if callbacks is None else callbacks)
    given = _with("callbacks", files or None, settings)
    return folds_recipe.train_folds(_with("folds", folds, given), callbacks=observers, observer=observer)


def evolve(
    data: str | Path | None = None,
    *,
    observer: evolve_recipe.Observer | None = None,
    **settings: Unpack[EvolveKeywords],
) -> evolve_recipe.EvolveResult:
    """Search for better hyperparameters; the same as `onelook evolve`.

    Args:
        data: dataset YAML; may be left out with `resume_evolve`.
        observer: called after every trial, with its row and all rows so far.
        settings: see `EvolveSettings`, for example `evolve=50, epochs=40, evolve_method="genetic"`.

    Raises:
        OnelookError: a setting, the data or the model cannot be used.
        StopRequested: Ctrl-C or SIGTERM; `evolve(resume_evolve=FOLDER)` resumes the search.
    """
    return evolve_recipe.evolve(_with("data", data, settings), observer=observer)


def validate(
    weights: str | Path | Sequence[str | Path], data: str | Path, **settings: Unpack[ValidateKeywords]
) -> validate_recipe.ValidateResult:
    """Measure a checkpoint on a split, or several as an ensemble; the same as `onelook val`.

    Settings: see `ValidateSettings`.

    Raises:
        OnelookError: a setting, the data or the weights cannot be used, or the settings ask for several processes.
        StopRequested: Ctrl-C or SIGTERM.
    """
    given = {"weights": weights, "data": data, **settings}
    count = processes_to_start(build_settings(ValidateSettings, given))
    if count > 1:
        raise SettingsError(
            f"`onelook.validate` takes one process, and these settings ask for {count}",
            hint="use one device, or the command `onelook val`",
        )
    return validate_recipe.validate(given)


def detect(
    weights: str | Path | Sequence[str | Path],
    source: str | Path | int | Sequence[str | Path | int],
    **settings: Unpack[DetectKeywords],
) -> DetectResult:
    """Find objects in images, videos and streams and write the results; the same as `onelook detect`.

    Settings: see `DetectSettings`.
    """
    return detect_recipe.detect({"weights": weights, "source": source, **settings})


def export(weights: str | Path, **settings: Unpack[ExportKeywords]) -> export_recipe.ExportResult:
    """Write a detector for other run times and compare it; the same as `onelook export`.

    Settings: see `ExportSettings`, for example `format="onnx,openvino", imgsz=320, dynamic=True`.

    Raises:
        OnelookError: a setting, the weights, the data or a package cannot be used, or an export differs too much.
    """
    return export_recipe.export({"weights": weights, **settings})


def benchmark(weights: str | Path, **settings: Unpack[BenchmarkKeywords]) -> benchmark_recipe.BenchmarkResult:
    """Measure a detector in several formats; the same as `onelook benchmark`. Settings: see `BenchmarkSettings`."""
    return benchmark_recipe.benchmark({"weights": weights, **settings})


def report(*runs: str | Path, out: str | Path = "") -> Path:
    """Write the report of a run, or a comparison of several, and return its path; the same as `onelook report`.

    Raises:
        RunFolderError: a folder holds no run, or the page cannot be written.
    """
    return report_recipe.report({"runs": list(runs), "out": out})


def check(data: str | Path, **settings: Unpack[CheckKeywords]) -> check_recipe.CheckResult:
    """What is wrong with a dataset, and what happened to every label row; the same as `onelook check`.

    Settings: see `CheckSettings`, for example `imgsz=320, weights="best.safetensors", output="bees-check"`.

    Raises:
        DataError: training would refuse the dataset; or, with `strict`, there is any error or warning.
    """
    result = check_recipe.check({"data": data, **settings})
    result.insist()
    return result


def split(data: str | Path, output: str | Path, **settings: Unpack[SplitKeywords]) -> SplitResult:
    """Split a dataset into lists of images, in a new folder; the same as `onelook split`.

    Settings: see `SplitSettings`, for example `fractions=[0.7, 0.2, 0.1]` or `folds=5, stratify=True`.
    """
    return split_dataset({"data": data, "output": output, **settings})


def download(data: str | Path, **settings: Unpack[DownloadKeywords]) -> download_recipe.DownloadResult:
    """Fetch and unpack what is missing of a dataset; the same as `onelook download`. Settings: see `DownloadSettings`.

    Raises:
        SettingsError: there is nothing to fetch, or an archive has no hash.
        DataError: an archive cannot be fetched, or has another size or SHA-256.
    """
    return download_recipe.download({"data": data, **settings})


def info(weights: str | Path, **settings: Unpack[InfoKeywords]) -> info_recipe.InfoResult:
    """What a file of weights holds; the same as `onelook info`. Settings: see `InfoSettings`."""
    return info_recipe.info({"weights": weights, **settings})


def serve(
    weights: str | Path,
    *,
    on_start: Callable[[serve_recipe.Service], None] | None = None,
    **settings: Unpack[ServeKeywords],
) -> Health:
    """Answer requests for detections over HTTP until a signal comes; the same as `onelook serve`.

    Args:
        weights: file of the detector.
        on_start: called with the running service as soon as it answers requests.
        settings: see `ServeSettings`, for example `port=8000, conf_thres=0.4`.

    Returns:
        How many images were answered, and how many requests were refused or failed.
    """
    return serve_recipe.serve({"weights": weights, **settings}, on_start=on_start)


def load(
    weights: str | Path | Sequence[str | Path],
    *,
    download: bool = False,
    **settings: Unpack[LoadKeywords],
) -> Detector:
    """A detector to call on images: files, folders, (H, W, 3) uint8 RGB arrays, tensors, Pillow's images, or lists.

    The detector returns an `ImageResult` for one image, a list of them for several.

    Args:
        weights: a checkpoint that `train` wrote, one of YOLOv5, or a file or folder that `export` wrote; several are
            an ensemble.
        download: fetch weights that are an https address, or the name of published ones, once; else nothing is fetched.
        settings: see `LoadSettings`, for example `conf_thres=0.4, device="cpu", head="one"`.

    Raises:
        SettingsError: a setting is unknown or impossible, or weights are a web address without `download`.
        CheckpointError: the file is missing, damaged or not ours.
        DataError: weights cannot be fetched, or have another size or SHA-256.
    """
    build_settings(LoadSettings, {"weights": ["to be fetched"], **settings})  # refuse wrong settings before a download
    files = local_weights(weights, download=download)
    return Detector(detect_recipe.open_predictor(build_settings(LoadSettings, {"weights": files, **settings})))


def _observers_and_files(callbacks: Sequence[Callback | str | Path]) -> tuple[list[Callback], list[Path]]:
    if isinstance(callbacks, str | Path):
        callbacks = [callbacks]
    for item in callbacks:
        if not isinstance(item, Callback | str | Path):
            raise SettingsError(
                f"`callbacks` has {item!r}, which is neither a `Callback` nor the path of a Python file",
                hint="give objects, not classes: `callbacks=[Mine()]`" if isinstance(item, type) else None,
            )
    files = [Path(item) for item in callbacks if isinstance(item, str | Path)]
    return [item for item in callbacks if isinstance(item, Callback)], files


def _with(name: str, value: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    return dict(settings) if value is None else {name: value, **settings}
