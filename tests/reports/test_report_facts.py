"""What a run writes for its report: facts, warnings, images."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from onelook.callbacks.run_facts import RunFactsFile, facts_from_json
from onelook.callbacks.warning_log import MAX_WARNINGS, logged_warnings
from onelook.metrics.detection_metrics import evaluate
from onelook.metrics.image_outcomes import ImageOutcome
from onelook.reports.choose_examples import choose_examples, write_examples
from onelook.reports.examples import examples_from_json
from onelook.settings.train import TrainSettings
from onelook.structures.dataset_index import DatasetIndex
from onelook.structures.detections import Detections
from onelook.training.callback import FitEnd, FitStart


def make_index(folder: Path, num_images: int) -> DatasetIndex:
    """Images of one label each, in their middle."""
    paths = []
    for number in range(num_images):
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), np.full((600, 1200, 3), 20 * number, np.uint8))
        paths.append(str(path))
    return DatasetIndex(
        paths=tuple(paths), sizes_hw=np.array([[600, 1200]] * num_images, np.int32), offsets=np.arange(num_images + 1),
        class_ids=np.zeros(num_images, np.int64), boxes=np.array([[0.5, 0.5, 0.2, 0.2]] * num_images, np.float32),
        polygon_offsets=np.zeros(num_images + 1, np.int64), polygon_points=np.zeros((0, 2), np.float32),
        fingerprint="0",
    )  # fmt: skip


def start(folder: Path, *, epoch: int = 0, device: str = "CPU", summary: str = "tiny, 5 parameters") -> FitStart:
    return FitStart(
        settings=TrainSettings(), run_folder=folder, names=("bee", "wasp"), num_train_images=3, num_val_images=3,
        batches_per_epoch=1, start_epoch=epoch, start_batch=0, device=device, model_summary=summary,
        indexes={"train": make_index(folder, 3)},
    )  # fmt: skip


def end() -> FitEnd:
    return FitEnd("finished", epochs_done=1, best_epoch=0, best_fitness=0.5, history=(), seconds=1.0)


def test_facts_are_written_at_the_start_and_completed_at_the_end(tmp_path: Path) -> None:
    path, warnings = tmp_path / "run.json", ["an early one"]
    file = RunFactsFile(path, warnings)
    file.on_fit_start(start(tmp_path))
    facts = facts_from_json(path.read_bytes())
    assert (facts.model, facts.names, facts.reason) == ("tiny, 5 parameters", ("bee", "wasp"), "")
    assert facts.splits["train"].images == 3 and facts.splits["train"].labels == (3, 0)
    assert facts.environments[0]["device"] == "CPU" and "torch" in facts.environments[0]
    warnings.append("a late one")
    file.on_fit_end(end())
    facts = facts_from_json(path.read_bytes())
    assert (facts.warnings, facts.reason) == (("an early one", "a late one"), "finished")


def test_a_run_resumed_on_the_same_machine_has_the_facts_of_one_that_was_not(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.json", tmp_path / "parts.json"
    for path, starts in ((whole, (0,)), (parts, (0, 3))):
        for epoch in starts:
            file = RunFactsFile(path, ["careful"])
            file.on_fit_start(start(tmp_path, epoch=epoch, summary="tiny" if epoch == 0 else "model"))
            file.on_fit_end(end())
    assert whole.read_bytes() == parts.read_bytes()


def test_a_run_resumed_elsewhere_keeps_both_machines_and_all_warnings(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for epoch, device in enumerate(("CPU", "GPU", "CPU")):
        file = RunFactsFile(path, [f"on {device}"])
        file.on_fit_start(start(tmp_path, epoch=epoch, device=device))
        file.on_fit_end(end())
    facts = facts_from_json(path.read_bytes())
    assert [one["device"] for one in facts.environments] == ["CPU", "GPU"]
    assert facts.warnings == ("on CPU", "on GPU")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 7}', "\x00"])
def test_damaged_facts_of_a_resumed_run_are_written_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    RunFactsFile(path, []).on_fit_start(start(tmp_path, epoch=2))
    assert facts_from_json(path.read_bytes()).model == "tiny, 5 parameters"


def test_facts_that_cannot_be_written_cost_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    RunFactsFile(tmp_path / "nowhere" / "run.json", []).on_fit_start(start(tmp_path))
    assert "run.json` was not written" in caplog.text


def test_warnings_are_noted_once_and_only_while_asked_for() -> None:
    log = logging.getLogger("onelook.somewhere")
    with logged_warnings() as messages:
        for number in (1, 1, 2):
            log.warning("number %d", number)
        log.info("nothing")
        log.error("worse")
        assert messages == ["number 1", "number 2", "worse"]
        for number in range(2 * MAX_WARNINGS):
            log.warning("many: %d", number)
    log.warning("too late")
    assert len(messages) == MAX_WARNINGS and "too late" not in messages


def outcome(right: int, missed: int, wrong: int) -> ImageOutcome:
    is_found = np.array([True] * right + [False] * missed, bool)
    is_right = np.array([True] * right + [False] * wrong, bool)
    return ImageOutcome(is_found, np.ones_like(is_found), np.ones_like(is_right), is_right)


def test_worst_images_have_errors_best_ones_have_hits_and_none_is_both() -> None:
    outcomes = [
        outcome(3, 0, 0),
        outcome(0, 1, 0),
        outcome(0, 5, 5),
        outcome(5, 0, 0),
        outcome(0, 0, 0),
        outcome(4, 1, 0),
    ]
    assert choose_examples(outcomes) == ([2, 1, 5], [3, 0])


def test_at_most_six_of_each_are_chosen() -> None:
    worst, best = choose_examples([outcome(1, 1, 0)] * 20)
    assert (worst, best) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11])
    assert choose_examples([]) == ([], [])


def test_images_are_small_and_hold_their_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = make_index(tmp_path, 4)
    hit = Detections(np.array([[480, 240, 720, 360]], np.float32), np.array([0.9], np.float32), np.array([0]))
    detections = [hit, Detections.empty(), Detections(hit.boxes, hit.scores, np.array([1])), Detections.empty()]
    all_labels = [index.image_labels(image) for image in range(4)]
    metrics = evaluate(all_labels, detections, num_classes=2)
    Path(index.paths[3]).unlink()
    paths = [tmp_path / "one.json", tmp_path / "other.json"]
    for path in paths:
        write_examples(path, index, detections, metrics)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    write_examples(tmp_path / "nowhere" / "one.json", index, detections, metrics)
    assert "one.json` was not written: No such file" in caplog.text
    assert "3.jpg" in caplog.text and "the report leaves it out" in caplog.text
    examples = examples_from_json(paths[0].read_bytes())
    assert [(Path(one.file).name, one.right, one.missed, one.wrong) for one in examples.worst] == [
        ("2.jpg", 0, 1, 1),
        ("1.jpg", 0, 1, 0),
    ]
    (best,) = examples.best
    assert (Path(best.file).name, best.size_hw, best.right) == ("0.jpg", (600, 1200), 1)
    assert best.labels[0].box == (480, 240, 720, 360) and best.detections[0].score == pytest.approx(0.9, abs=1e-3)
    assert len(json.loads(paths[0].read_text())["best"][0]["jpeg"]) < 20_000
