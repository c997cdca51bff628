"""The event file of a run, read back with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pytest
from stop_at import StopAt
from tracker_runs import REAL_RUN, Draw, beginning, follow, results_of

from onelook.callbacks.trackers.event_file import masked
from onelook.callbacks.trackers.tensorboard import TensorBoardTracker
from onelook.errors import StopRequested
from onelook.recipes.train import train
from onelook.training.callback import FitEnd

if TYPE_CHECKING:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Scalars = dict[str, dict[int, float]]


def read(folder: Path) -> EventAccumulator:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    return events.Reload()


def scalars_of(events: EventAccumulator) -> Scalars:
    """Tag -> step -> value, as often as it was written."""
    found: Scalars = {}
    for tag in events.Tags()["scalars"]:
        entries = events.Scalars(tag)
        found[tag] = {entry.step: entry.value for entry in entries}
        assert len(found[tag]) == len(entries), f"{tag} has two values for one step"
    return found


def text_of(events: EventAccumulator, tag: str) -> str:
    return bytes(events.Tensors(tag)[-1].tensor_proto.string_val[0]).decode()


def check_scalars(folder: Path, num_epochs: int) -> None:
    """Every number of every line of results.csv is there, in 32 bits, and nothing else but the final metrics."""
    results = results_of(folder)
    assert list(results) == list(range(num_epochs))
    found = {tag: steps for tag, steps in scalars_of(read(folder)).items() if not tag.startswith("best/")}
    expected: Scalars = {}
    for epoch, row in results.items():
        for name, value in row.items():
            expected.setdefault(name, {})[epoch] = float(np.float32(value))
    assert found == expected


def test_a_run_reads_back_as_its_results(tiny_run: dict[str, Any]) -> None:
    result = follow("tensorboard", tiny_run, Draw(), save_period=1)
    check_scalars(result.run_folder, 2)
    events = read(result.run_folder)
    best = {tag: steps for tag, steps in scalars_of(events).items() if tag.startswith("best/")}
    at, metrics = result.outcome.best_epoch, result.metrics
    assert best == {
        "best/precision": {at: pytest.approx(metrics.precision)},
        "best/recall": {at: pytest.approx(metrics.recall)},
        "best/mAP_0.5": {at: pytest.approx(metrics.map50)},
        "best/mAP_0.5:0.95": {at: pytest.approx(metrics.map50_95)},
        "best/fitness": {at: pytest.approx(metrics.fitness)},
    }
    for name in ("labels.png", "results.jpg"):
        (image,) = events.Images(f"images/{Path(name).stem}")
        assert image.encoded_image_string == (result.run_folder / name).read_bytes()
        assert (image.height, image.width) == (20, 30)
    assert "    batch_size: 10\n" in text_of(events, "settings") and "    momentum: 0.9" in text_of(events, "settings")
    assert text_of(events, "classes") == "    0: square\n    1: disc\n"
    assert "file: weights/best.safetensors" in text_of(events, "models/best")
    assert "file: weights/epoch1.safetensors" in text_of(events, "models/epoch1")
    assert "reason: finished" in text_of(events, "outcome")


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_resumed_run_has_one_value_per_epoch(tiny_run: dict[str, Any], step: int) -> None:
    with pytest.raises(StopRequested):
        follow("tensorboard", {**tiny_run, "epochs": 3}, StopAt(step))
    result = follow("tensorboard", {"resume": str(tiny_run["project"] / "exp")})
    assert len(list(result.run_folder.glob("events.out.tfevents.*"))) == 2
    check_scalars(result.run_folder, 3)


def test_what_is_done_again_after_a_crash_replaces_what_was_there(tiny_run: dict[str, Any]) -> None:
    """The state saved after an epoch is lost, as by a crash in the next one: that epoch is done and written twice."""
    follow("tensorboard", {**tiny_run, "epochs": 3, "save_period": 1})
    old = tiny_run["project"] / "exp" / "weights" / "epoch0.safetensors"
    result = follow("tensorboard", {"resume": str(old)})
    check_scalars(result.run_folder, 3)


def test_a_run_that_is_not_tracked_has_no_event_file(tiny_run: dict[str, Any]) -> None:
    assert not list(train(tiny_run).run_folder.glob("events*"))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 255, 4095, 4096, 4097, 8192, 65536, 100_001])
def test_checksums_are_those_of_tensorboard(size: int) -> None:
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    data = np.random.default_rng(size).bytes(size)
    assert masked(google_crc32c.value(data)) == masked_crc32c(data)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://evil/x.png)", "a\n\n# b", "a|b", "`"]
)
def test_names_are_shown_and_not_obeyed(tmp_path: Path, name: str) -> None:
    from tensorboard.plugin_util import markdown_to_safe_html

    tracker = TensorBoardTracker()
    tracker.start(beginning(tmp_path, ("bee", name), data=name))
    tracker.finish(FitEnd("finished", 0, -1, 0.0, (), 1.0))
    events = read(tmp_path)
    for tag in ("classes", "settings"):
        html = markdown_to_safe_html(text_of(events, tag))
        assert html.startswith("<pre><code>") and html.count("<") == 4, html


@pytest.mark.slow
def test_a_run_on_real_images_reads_back_as_its_results(tiny_run: dict[str, Any]) -> None:
    result = follow("tensorboard", {**tiny_run, **REAL_RUN})
    check_scalars(result.run_folder, REAL_RUN["epochs"])
    drawn = [path for path in result.run_folder.iterdir() if path.suffix in {".png", ".jpg"}]
    events = read(result.run_folder)
    for path in drawn:
        (image,) = events.Images(f"images/{path.stem}")
        assert image.encoded_image_string == path.read_bytes()
    assert len(drawn) > 10
