"""Files about several folds: what each run folder says of its fold, and all of them as a table and a document."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from onelook.errors import RunFolderError
from onelook.files.atomic import write_json_atomic, write_text_atomic
from onelook.metrics.fold_summary import MEASURES, FoldScore, FoldSummary
from onelook.recipes.folds_preparation import PreparedFolds
from onelook.reports.plots.confusion_matrix import plot_confusion_matrix
from onelook.reports.run_record import read_run
from onelook.runs.run_dir import RunDir
from onelook.structures.confusion_cells import as_document

FORMAT = 1
COLUMNS = ("fold", "epochs", "best_epoch", "images", "labels", *MEASURES)


def score_of(run: RunDir) -> FoldScore:
    """What the folder of a finished training says; RunFolderError if it lacks a file, or one is damaged."""
    record = read_run(run.path)
    if record.metrics is None or record.best_epoch is None:
        file = run.metrics_arrays if record.metrics is None else run.results
        why = record.absent.get(file.name) or "it does not exist, or has no numbers"
        raise RunFolderError(
            f"training on `{run.path.name}` is finished, but `{file}` cannot be read: {why}",
            hint=f"delete the folder `{run.path}` to train on this fold again",
        )
    environments = record.facts.environments if record.facts is not None else ()
    epochs = int(record.results[-1]["epoch"]) + 1
    return FoldScore(run.path.name, run.path, epochs, record.best_epoch, record.metrics, environments)


def write_summary(prepared: PreparedFolds, scores: Sequence[FoldScore], summary: FoldSummary) -> None:
    """Write the table and the document of the folds that are done; once all are, also the image."""
    is_complete = len(scores) == len(prepared.data)
    write_text_atomic(prepared.folder.table, table_text(scores, summary if is_complete else None))
    content = {
        "format": FORMAT,
        "folds": [{"fold": score.name, "run_folder": score.run_folder.name, **_numbers(score)} for score in scores],
        "num_folds": len(prepared.data),
        "images": summary.num_images,
        "labels": summary.num_labels,
        "metrics": {name: asdict(spread) for name, spread in summary.spreads.items()},
        "classes": [
            {
                "name": prepared.names[one.class_id],
                "folds": one.num_folds,
                "images": one.num_images,
                "labels": one.num_labels,
                **{name: asdict(spread) for name, spread in one.spreads.items()},
            }
            for one in summary.classes
        ],
        **as_document(summary.confusion_cells, summary.num_classes),
        "names": list(prepared.names),
        "settings": prepared.settings.model_copy(update=prepared.training_settings()).model_dump(
            mode="json", include={"folds", *prepared.training_settings()}
        ),
        "fingerprints": prepared.fingerprints,
        "environments": {score.name: list(score.environments) for score in scores},
    }
    write_json_atomic(prepared.folder.document, content)
    if is_complete and not prepared.settings.noplots:
        image = RunDir(prepared.folder.path).image("confusion_matrix.png")
        plot_confusion_matrix(summary.confusion_cells, prepared.names, image)


def table_text(scores: Sequence[FoldScore], summary: FoldSummary | None) -> str:
    """A line for each fold with all digits; with a summary, then the mean and the sample standard deviation."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for score in scores:
        writer.writerow({"fold": score.name, **{name: _cell(value) for name, value in _numbers(score).items()}})
    if summary is not None:
        for row in ("mean", "sd"):
            cells = {name: _cell(getattr(spread, row)) for name, spread in summary.spreads.items()}
            writer.writerow({"fold": row, **cells})
    return text.getvalue()


def _numbers(score: FoldScore) -> dict[str, Any]:
    metrics = score.metrics
    counts = {"epochs": score.epochs, "best_epoch": score.best_epoch}
    counts |= {"images": metrics.num_images, "labels": metrics.num_labels}
    return counts | {name: float(getattr(metrics, name)) for name in MEASURES}


def _cell(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""
