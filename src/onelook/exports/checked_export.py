"""One export: made, compared with the model, reported, and put in its place only then."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from onelook.errors import ModelError, RunFolderError, SettingsError
from onelook.exports.export_data import ExportData
from onelook.exports.formats import EXPORTERS, Format, require
from onelook.exports.layouts import END_TO_END_DETECTIONS
from onelook.exports.metadata import Metadata
from onelook.exports.opening import load_runnable
from onelook.exports.parity import compare, shapes_for
from onelook.exports.plan import ExportPlan
from onelook.exports.report import Checks, report_of, report_path
from onelook.files.atomic import write_json_atomic
from onelook.files.overwriting import make_folder, refuse_to_replace
from onelook.inference.backend import Thresholds, TorchBackend, iou_threshold, refuse_frame, usual_hw
from onelook.models.detector import DetectionModel
from onelook.settings.export import ExportSettings

logger = logging.getLogger(__name__)

# What the converters raise for a network that they cannot convert.
CONVERTER_ERRORS = (RuntimeError, ValueError, TypeError, KeyError, AssertionError, AttributeError)
OPTIONS = ("half", "int8", "dynamic", "nms", "layout", "simplify", "opset", "workspace", "batch_size")


@dataclass(frozen=True)
class Exported:
    """One export.

    Attributes:
        format: its name in `EXPORTERS`.
        report: the JSON file beside it.
        checks: how far it is from the model.
        num_bytes: size of the file, or of all files in the folder.
    """

    format: str
    path: Path
    report: Path
    checks: Checks
    num_bytes: int


def refuse_what_cannot_be_done(settings: ExportSettings) -> None:
    """Refuse, before any work, options that a format does not support, missing packages, and targets that exist.

    Raises:
        SettingsError: an option does not suit a format, a package is missing, or an export already exists.
    """
    for name in settings.format:
        kind = EXPORTERS[name]
        for option in OPTIONS:
            is_asked = getattr(settings, option) != ExportSettings.model_fields[option].default
            if is_asked and option not in kind.takes:
                able = ", ".join(other for other, that in EXPORTERS.items() if option in that.takes)
                raise SettingsError(f"format `{name}` does not support `{option}`", hint=f"formats that do: {able}")
        require(name, (*kind.makers, *kind.runners, *(("nncf",) if settings.int8 else ())))
        target = target_of(settings, kind)
        for written in (target, report_path(target)):
            refuse_to_replace(written, filter(None, [settings.weights, settings.data]))
        if target.exists() and not settings.exist_ok:
            raise SettingsError(f"`{target}` already exists", hint="add `--exist-ok` to replace it")


def refuse_layout(settings: ExportSettings, model: DetectionModel) -> None:
    """Refuse a layout that the head of a model cannot give.

    Raises:
        SettingsError: the layout needs another head.
    """
    head = model.head
    if settings.layout == "yolox" and head.decoding().rule not in ("points", "shared"):
        raise SettingsError(
            f"`layout: yolox` is for heads of YOLOX; this model ends with {model.plans[-1].block}, which decodes boxes "
            "in another way",
            hint="use `--layout rows` or `--layout channels-first`",
        )
    if settings.layout == "end-to-end" and head.needs_nms:
        raise SettingsError(
            "`layout: end-to-end` is for heads that find each object once; this one needs NMS",
            hint="use `--nms --max-det 300`, which has the same form, or `--head one` if the model has that branch",
        )


def target_of(settings: ExportSettings, kind: Format) -> Path:
    """Path of an export: the stem of the weights with the ending of the format."""
    folder = Path(settings.output) if settings.output else settings.weights.parent
    return folder / f"{settings.weights.stem}{kind.ending}"


def frame_of(imgsz: list[int], model: DetectionModel) -> tuple[int, int]:
    """Height and width, pixels; those of training if none are given; SettingsError: see `refuse_frame`."""
    if not imgsz:
        return usual_hw([model])
    frame_hw = (imgsz[0], imgsz[-1])
    refuse_frame(frame_hw, model.max_stride)
    return frame_hw


@dataclass(frozen=True)
class CheckedExport:
    """What all formats of a run share.

    Attributes:
        model: fused, on the CPU.
        data: images to compare on; None without.
    """

    settings: ExportSettings
    model: DetectionModel
    imgsz_hw: tuple[int, int]
    data: ExportData | None

    def export(self, name: str) -> Exported:
        """Make one export, compare it, write its report, and put it in its place.

        Raises:
            ModelError: it cannot be made, or differs too much.
        """
        kind, settings, plan = EXPORTERS[name], self.settings, self.plan(name)
        target = target_of(settings, kind)
        make_folder(target.parent, option="--output")
        try:
            scratch = TemporaryDirectory(prefix=".onelook-export-", dir=target.parent)
        except OSError as problem:
            raise RunFolderError(
                f"folder `{target.parent}` cannot be written: {problem.strerror}", hint="choose another `--output`"
            ) from problem
        with scratch as folder:
            made = Path(folder, target.name)
            self._write(name, plan, made)
            checks = self._checks(name, plan, made)
            report = report_of(plan, settings, format_name=name, made=made, checks=checks)
            write_json_atomic(report_path(target), report)
            problems = report["problems"]
            if problems and not settings.allow_mismatch:
                raise ModelError(
                    f"the {name} export differs from the model: {'; '.join(problems)}; it is not kept, "
                    f"see `{report_path(target)}`",
                    hint="add `--allow-mismatch` to keep it anyway",
                )
            for difference in problems:
                logger.warning("the %s export differs from the model: %s", name, difference)
            if target.exists():
                target.rename(Path(folder, "replaced"))
            made.rename(target)
        num_bytes = sum(file["bytes"] for file in report["files"])
        return Exported(name, target, report_path(target), checks, num_bytes)

    def plan(self, name: str) -> ExportPlan:
        """What a format is to write."""
        settings, takes = self.settings, EXPORTERS[name].takes
        batch = None if settings.dynamic else settings.batch_size
        metadata = Metadata(
            names=self.model.names,
            stride=self.model.max_stride,
            frame_hw=None if settings.dynamic else self.imgsz_hw,
            batch=batch if "batch_size" in takes else 1,
            precision="fp16" if settings.half else "int8" if settings.int8 else "fp32",
            thresholds=_thresholds(settings, self.model) if settings.nms else None,
            decoding=self.model.head.decoding() if name == "ncnn" or settings.layout == "yolox" else None,
            layout=settings.layout,
            map_strides=None if settings.layout == "end-to-end" else self.model.stride_px,
            weights=settings.weights.name,
            imgsz=self.model.imgsz,
            needs_nms=self.model.head.needs_nms,
        )
        return ExportPlan(
            model=self.model,
            metadata=metadata,
            example_hw=self.imgsz_hw,
            opset=settings.opset,
            simplify=settings.simplify,
            workspace_gib=settings.workspace,
            calibration=self.data.calibration(metadata.batch or 1) if self.data is not None else None,
        )

    def _write(self, name: str, plan: ExportPlan, path: Path) -> None:
        if EXPORTERS[name].is_folder:
            path.mkdir()
        try:
            EXPORTERS[name].write(plan, path)
        except CONVERTER_ERRORS as problem:
            text = " ".join(str(problem).split())
            raise ModelError(f"the {name} export cannot be made: {type(problem).__name__}: {text[:500]}") from problem

    def _checks(self, name: str, plan: ExportPlan, made: Path) -> Checks:
        if not EXPORTERS[name].runs_here:
            logger.warning("a %s export cannot run on this machine: it is not compared with the model", name)
            return Checks()
        runnable = load_runnable(made, self.settings.device)
        assert not isinstance(runnable, DetectionModel)
        best = END_TO_END_DETECTIONS if plan.metadata.layout == "end-to-end" else None
        cases = compare(TorchBackend(self.model), runnable, shapes_for(plan.metadata, self.imgsz_hw), best=best)
        if self.data is None and all(case.detections == 0 for case in cases):
            logger.warning("the model finds nothing in the synthetic images: add `--data` to compare the NMS")
        return Checks(tuple(cases), self.data.compare(self.model, runnable) if self.data is not None else None)


def _thresholds(settings: ExportSettings, model: DetectionModel) -> Thresholds:
    overlap = iou_threshold(settings.iou_thres, needs_nms=model.head.needs_nms)
    return Thresholds(settings.conf_thres, overlap, settings.max_det, settings.agnostic_nms)
