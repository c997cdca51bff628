"""Reads a dataset, checks its images, and reports all that is wrong with it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelook.data.capacity import available_processors
from onelook.data.dataset_layout import open_dataset
from onelook.data.dataset_spec import DatasetSpec
from onelook.data.image_hashes import image_hashes
from onelook.data.parallel_map import Work
from onelook.data.scan.index import ScanResult
from onelook.data.scan.ledger import Ledger
from onelook.data.scan.rules import ScanOptions, apply_rules
from onelook.doctor.diagnosis import Diagnosis, DiagnosisOptions, diagnose
from onelook.doctor.findings import Finding, by_severity, in_words
from onelook.doctor.fixed_copy import write_fixed
from onelook.doctor.judge import judge_labels, open_judge, suspicion_findings
from onelook.doctor.reading import read_splits, require_splits, unlabelled_in
from onelook.doctor.suspicions import Suspicion
from onelook.errors import DataError, RunFolderError
from onelook.files.atomic import write_json_atomic, write_text_atomic
from onelook.files.cache_folder import default_cache_folder
from onelook.files.overwriting import make_folder, refuse_to_replace
from onelook.inference.backend import DEFAULT_IMGSZ
from onelook.models.detector import create_model
from onelook.processes.stop_signal import StopSignal
from onelook.reports.check_page import check_page
from onelook.reports.plots.suspects import suspicion_images
from onelook.settings.build import build_settings
from onelook.settings.check import CheckSettings
from onelook.settings.train import TrainSettings
from onelook.training.autoanchor import Array
from onelook.training.weights import DEFAULT_MODEL

MAX_DET: int = TrainSettings.model_fields["max_det"].default
JSON_NAME, PAGE_NAME = "check.json", "check.html"


@dataclass(frozen=True)
class CheckResult:
    """What a check of a dataset gives.

    Attributes:
        scans: index and ledger by split.
        refusal: why training would refuse the dataset, or `strict` does; None if neither.
        suspicions: what a detector contradicts, the strongest first; none without weights, or with weak ones.
        fixed: the YAML of the corrected copy; None if none was asked for.
    """

    settings: CheckSettings
    spec: DatasetSpec
    scans: Mapping[str, ScanResult]
    diagnosis: Diagnosis
    refusal: DataError | None
    suspicions: tuple[Suspicion, ...] = ()
    fixed: Path | None = None

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """What happened to every label row, split by split."""
        return {split: scan.ledger for split, scan in self.scans.items()}

    def insist(self) -> None:
        """Refuse the dataset if training would; with `strict`, also if there is any error or warning.

        Raises:
            DataError: why.
        """
        if self.refusal is not None:
            raise self.refusal


def check(given: Mapping[str, Any], *, file: Path | None = None) -> CheckResult:
    """Read all splits of a dataset, report its faults, and write the report if a folder is given.

    Raises:
        OnelookError: a setting or the dataset file cannot be used, or the report cannot be written.
        StopRequested: Ctrl-C, SIGTERM or SIGUSR1.
    """
    with StopSignal() as stop:
        settings = build_settings(CheckSettings, given, file=file)
        spec = open_dataset(settings.data)
        if settings.fix:
            spec.require("train")
        output, fixed = _output_folder(settings), None
        work = Work(available_processors(), stop_requested=stop)
        cache_folder = default_cache_folder()
        scans, unread = read_splits(spec, work, cache_folder, settings.max_pixels)
        hashes = {
            split: image_hashes(
                scan.index.paths,
                work=work,
                cache_folder=cache_folder,
                max_pixels=settings.max_pixels,
            )
            for split, scan in scans.items()
        }
        unlabelled = {split: unlabelled_in(spec, split, scan) for split, scan in scans.items()}
        model, anchors_px = _anchors(settings)
        judge = open_judge(settings, spec) if settings.weights else None
        imgsz = settings.imgsz or (DEFAULT_IMGSZ if judge is None else max(judge.settings.frame_hw))
        options = DiagnosisOptions(spec.path, spec.names, imgsz, settings.near, MAX_DET, model, anchors_px)
        diagnosis = diagnose(scans, hashes, {split: images for split, (images, _) in unlabelled.items()}, options)
        map50, suspicions = (None, ()) if judge is None else judge_labels(judge, scans, settings.suspicions, stop)
        more = suspicion_findings(suspicions, scans, spec.names)
        more += [Finding("unread-split", split, "", str(why)) for split, why in unread.items()]
        diagnosis = replace(diagnosis, findings=(*diagnosis.findings, *more))
        first_missing = {split: first for split, (_, first) in unlabelled.items()}
        refusal = _refusal(settings, spec, scans, unread, first_missing, diagnosis)
        diagnosis = replace(
            diagnosis,
            detector_map50=map50,
            refusal="" if refusal is None else refusal.message.splitlines()[0].rstrip(":"),
        )
        if settings.fix:
            require_splits(unread)
            fixed = write_fixed(Path(settings.fix), scans, diagnosis.findings, spec.names, work=work)
            if refusal is not None:
                command = shlex.join(["onelook", "check", str(fixed)])
                cures = [*([refusal.hint] if refusal.hint else []), f"check the corrected copy: `{command}`"]
                refusal = DataError(refusal.message, hint="; or ".join(cures))
        if output is not None:
            write_json_atomic(output / JSON_NAME, diagnosis.document())
            images = list(suspicion_images(suspicions, scans, spec.names))
            write_text_atomic(output / PAGE_NAME, check_page(diagnosis, images))
    return CheckResult(settings, spec, scans, diagnosis, refusal, suspicions, fixed)


def _refusal(
    settings: CheckSettings,
    spec: DatasetSpec,
    scans: Mapping[str, ScanResult],
    unread: Mapping[str, DataError],
    first_missing: Mapping[str, str | None],
    diagnosis: Diagnosis,
) -> DataError | None:
    """Why training would refuse the dataset; with `strict`, also that there is an error or a warning."""
    options = ScanOptions(strict=settings.strict, allow_unlabelled=settings.allow_unlabelled)
    try:
        require_splits(unread)
        for split, scan in scans.items():
            apply_rules(scan.ledger, spec, options, first_label=first_missing[split])
    except DataError as problem:
        return problem
    counts = by_severity(diagnosis.findings)
    if not settings.strict or not (counts["error"] or counts["warning"]):
        return None
    return DataError(
        f"`--strict` allows no error and no warning: dataset `{diagnosis.data}` has {in_words({**counts, 'note': 0})}",
        hint="fix them, or leave out `--strict`",
    )


def _anchors(settings: CheckSettings) -> tuple[str, Array | None]:
    """The name of the model whose anchors are measured, and these; None if it has none."""
    name = settings.cfg or DEFAULT_MODEL
    grid = create_model(name, num_classes=1).anchor_grid  # thousands of classes would only take time
    return Path(name).stem, None if grid is None else grid.anchors.double().numpy()


def _output_folder(settings: CheckSettings) -> Path | None:
    """The folder of the report, made; None if none is wanted."""
    if not settings.output:
        return None
    folder = Path(settings.output)
    for name in (JSON_NAME, PAGE_NAME):
        refuse_to_replace(folder / name, filter(None, [settings.data, settings.weights, settings.cfg]))
    if folder.exists() and not settings.exist_ok:
        raise RunFolderError(f"folder `{folder}` already exists", hint="choose another `--output`, or `--exist-ok`")
    make_folder(folder, option="--output")
    return folder
