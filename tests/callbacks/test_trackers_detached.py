"""Trackers hear of everything, in order, and cannot stop, slow or change a run."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from stop_at import StopAt
from tracker_runs import Draw, Notebook, beginning, bits_of, kind_of, results_of

from onelook.callbacks.trackers.detached import Detached, TrackerKind
from onelook.callbacks.trackers.identity import recall_identity, remember_identity
from onelook.callbacks.trackers.registry import TRACKERS, trackers_for
from onelook.callbacks.trackers.tracker import final_metrics, project_of
from onelook.callbacks.trackers.worker import MAX_WAITING
from onelook.errors import SettingsError, StopRequested
from onelook.recipes.train import train
from onelook.settings.build import build_settings
from onelook.settings.train import TRACKER_NAMES, TrainSettings
from onelook.training.callback import Callback, EpochEnd, FitEnd, FitStart

MODULES = {
    "tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "clearml": "clearml", "comet": "comet_ml",
}  # fmt: skip


class Failing(Notebook):
    """Raises in one of its methods."""

    def __init__(self, method: str, problem: BaseException) -> None:
        super().__init__()
        self._method, self._problem = method, problem

    def _note(self, name: str, *arguments: Any) -> None:
        super()._note(name, *arguments)
        if name == self._method:
            raise self._problem


class Blocked(Notebook):
    """Waits in `start` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = threading.Event(), threading.Event()

    def start(self, run: FitStart) -> None:
        self.reached.set()
        self.let_go.wait()
        super().start(run)


class Witness(Callback):
    """Keeps the events."""

    def __init__(self) -> None:
        self.start: FitStart
        self.epochs: list[EpochEnd] = []

    def on_fit_start(self, event: FitStart) -> None:
        self.start = event

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.epochs.append(event)


def epoch_end(epoch: int) -> EpochEnd:
    return EpochEnd(epoch, {"epoch": epoch, "x/lr0": epoch / 7}, None, False, 1.0, 1.0)


def fit_end(epochs: int) -> FitEnd:
    history = tuple(epoch_end(epoch).row for epoch in range(epochs))
    return FitEnd("stop requested", epochs, -1, 0.0, history, 1.0)


def test_a_tracker_hears_of_the_whole_run_in_order(tiny_run: dict[str, Any]) -> None:
    notebook, witness = Notebook(), Witness()
    settings = {**tiny_run, "save_period": 1}
    result = train(settings, callbacks=[witness, Draw(), Detached({"notes": kind_of(notebook)})])
    folder = result.run_folder.resolve()
    assert notebook.threads == {"tracker-notes"}
    assert [name for name, _ in notebook.calls] == [
        "start", "log_images",
        "log_model", "log_row", "log_boxes",
        "log_model", "log_row", "log_boxes",
        "log_images", "log_model", "finish",
    ]  # fmt: skip
    (run,) = notebook.of("start")[0]
    assert (project_of(run.run_folder), run.names, run.is_resumed) == ("runs", ("square", "disc"), False)
    assert run.settings.optimizer == "AdamW" and run.settings.epochs == 2 and run.run_folder == folder
    assert dict(notebook.of("log_row")) == results_of(folder)
    assert notebook.of("log_images") == [([folder / "labels.png"],), ([folder / "results.jpg"],)]
    models = [(path.relative_to(folder).as_posix(), aliases) for path, aliases, _ in notebook.of("log_model")]
    assert models == [
        ("weights/epoch0.safetensors", ("epoch0",)),
        ("weights/epoch1.safetensors", ("epoch1",)),
        ("weights/best.safetensors", ("best",)),
    ]
    (end,) = notebook.of("finish")[0]
    assert end.metrics is not None and end.reason == "finished" and end.epochs_done == 2
    assert notebook.of("log_model")[2][2] == final_metrics(end)
    assert final_metrics(end)["metrics/mAP_0.5"] == result.metrics.map50
    check_boxes(notebook, witness)


def check_boxes(notebook: Notebook, witness: Witness) -> None:
    """They are those of the validation images, with their labels."""
    index = witness.start.indexes["val"]
    for epoch, boxed in notebook.of("log_boxes"):
        assert [str(sample_image.path) for sample_image in boxed] == list(index.paths)
        for image, sample_image in enumerate(boxed):
            assert sample_image.detections is witness.epochs[epoch].detections[image]
            assert sample_image.size_hw == (96, 96)
            labels = index.image_labels(image)
            assert [box for box, _ in sample_image.labels] == labels.boxes.tolist()
            assert [class_id for _, class_id in sample_image.labels] == labels.class_ids.tolist()


def test_boxes_come_ten_times_in_a_run(tmp_path: Path) -> None:
    observer = Detached({})
    observer.on_fit_start(beginning(tmp_path, epochs=35))
    turns = [epoch for epoch in range(35) if observer._boxes_are_due(epoch)]
    assert turns == [2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 34]


PROBLEMS: list[tuple[str, BaseException]] = [
    ("start", ValueError("no route to host")),
    ("log_row", OSError("no route to host")),
    ("log_row", SystemExit(3)),
    ("log_images", KeyError(0)),
    ("log_boxes", RuntimeError()),
    ("log_model", MemoryError()),
    ("finish", ValueError()),
]


def test_a_tracker_that_fails_costs_one_warning(tiny_run: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Each has a thread of its own, whatever happens to the others."""
    failing = {f"bad{number}": Failing(*case) for number, case in enumerate(PROBLEMS)}
    notebook = Notebook()
    run = tiny_run["project"] / "exp"
    run.mkdir(parents=True)
    (run / "labels.png").touch()
    detached = Detached({name: kind_of(tracker) for name, tracker in {**failing, "good": notebook}.items()})
    result = train({**tiny_run, "exist_ok": True}, callbacks=[detached])
    assert result.outcome.reason == "finished"
    for tracker, (method, _) in zip(failing.values(), PROBLEMS, strict=True):
        assert tracker.calls[-1][0] == method and len(tracker.of(method)) == 1, "it is not asked again"
    assert len(notebook.of("log_row")) == 2 and len(notebook.of("finish")) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(warnings) == [f"tracker `{name}` failed and is switched off; the run continues" for name in failing]


def test_a_blocked_tracker_holds_nobody_up_and_gets_all_rows_later(tmp_path: Path) -> None:
    blocked, epochs = Blocked(), 3 * MAX_WAITING
    observer = Detached({"slow": kind_of(blocked)})
    observer.on_fit_start(beginning(tmp_path))
    blocked.reached.wait()
    for epoch in range(epochs):
        observer.on_epoch_end(epoch_end(epoch))
    assert not blocked.calls, "the whole run went by meanwhile"
    blocked.let_go.set()
    observer.on_fit_end(fit_end(epochs))
    assert blocked.of("log_row") == [(epoch, {"x/lr0": epoch / 7}) for epoch in range(epochs)]
    assert blocked.calls[-1][0] == "finish"


def test_images_for_which_there_was_no_place_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = Blocked()
    observer = Detached({"slow": kind_of(blocked)})
    observer.on_fit_start(beginning(tmp_path))
    blocked.reached.wait()
    for epoch in range(MAX_WAITING):
        observer.on_epoch_end(epoch_end(epoch))
    for number in range(3):
        (tmp_path / f"{number}.png").touch()
        observer.on_epoch_end(epoch_end(MAX_WAITING + number))
    blocked.let_go.set()
    observer.on_fit_end(fit_end(MAX_WAITING + 3))
    assert "tracker `slow` was too slow: images, boxes or models were left out 3 times" in caplog.text


def test_a_tracker_that_stays_blocked_is_left_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked, notebook = Blocked(), Notebook()
    observer = Detached({"slow": kind_of(blocked), "quick": kind_of(notebook)}, finish_seconds=0.2, stop_seconds=0.2)
    observer.on_fit_start(beginning(tmp_path))
    for epoch in range(5):
        observer.on_epoch_end(epoch_end(epoch))
    observer.on_fit_end(fit_end(5))
    assert "tracker `slow` did not finish in time" in caplog.text and not blocked.calls
    assert len(notebook.of("log_row")) == 5 and len(notebook.of("finish")) == 1, "one does not wait for the other"
    thread = next(thread for thread in threading.enumerate() if thread.name == "tracker-slow")
    blocked.let_go.set()
    thread.join(10)
    assert [name for name, _ in blocked.calls] == ["start"], "what was left behind does no more"


def test_a_stopped_run_is_told_to_be_incomplete(tiny_run: dict[str, Any]) -> None:
    notebook = Notebook()
    with pytest.raises(StopRequested):
        train(tiny_run, callbacks=[Detached({"notes": kind_of(notebook)}), StopAt(3)])
    (end,) = notebook.of("finish")[0]
    assert (end.reason, end.metrics, final_metrics(end)) == ("stop requested", None, {})
    assert not notebook.of("log_model")


def test_a_resumed_run_sends_what_is_new(tiny_run: dict[str, Any]) -> None:
    run = tiny_run["project"] / "exp"
    with pytest.raises(StopRequested):
        train(tiny_run, callbacks=[StopAt(3)])
    (run / "labels.png").touch()
    notebook = Notebook()
    train({"resume": str(run)}, callbacks=[Draw(), Detached({"notes": kind_of(notebook)})])
    (told,) = notebook.of("start")[0]
    assert told.is_resumed and told.start_epoch == 1 and project_of(told.run_folder) == "runs"
    assert [epoch for epoch, _ in notebook.of("log_row")] == [1]
    assert [[path.name for path in paths] for (paths,) in notebook.of("log_images")] == [["results.jpg"]]


def test_events_are_let_go_once_they_are_told(tmp_path: Path) -> None:
    observer = Detached({"notes": kind_of(Failing("finish", OSError()))})
    observer.on_fit_start(beginning(tmp_path))
    event = epoch_end(0)
    observer.on_epoch_end(event)
    told = weakref.ref(event)
    del event
    observer.on_fit_end(fit_end(1))
    gc.collect()
    assert told() is None


def test_trackers_leave_every_bit_as_it_is(tiny_run: dict[str, Any], untracked_bits: list[bytes]) -> None:
    watched = train(tiny_run, callbacks=[Detached({"notes": kind_of(Notebook())})])
    assert bits_of(watched) == untracked_bits


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_can_be_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = MODULES[name]
    for module in [module for module in sys.modules if module == package or module.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"onelook.callbacks.trackers.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    observer = Detached({name: TRACKERS[name]})
    observer.on_fit_start(beginning(tmp_path))
    observer.on_epoch_end(epoch_end(0))
    observer.on_fit_end(fit_end(1))
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"tracker `{name}` is off: package `{package}")
    assert warnings[0].endswith('is missing; install it with `pip install "onelook[track]"`')


def test_a_broken_package_is_named_with_its_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def create() -> NoReturn:
        raise AttributeError("module 'x' has no attribute 'y'")

    Detached({"odd": TrackerKind(create, ("no-such-package", "numpy"))}).on_fit_start(beginning(tmp_path))
    assert f"tracker `odd` is off: package `numpy` {np.__version__} cannot be used" in caplog.text
    assert "module 'x' has no attribute 'y'" in caplog.text


def test_a_part_that_is_missed_late_is_named_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    observer = Detached({"bad": kind_of(Failing("start", ModuleNotFoundError(name="sqlalchemy")))})
    observer.on_fit_start(beginning(tmp_path))
    observer.on_fit_end(fit_end(0))
    assert 'package `sqlalchemy` is missing; install it with `pip install "onelook[track]"`' in caplog.text


@pytest.mark.parametrize(
    ("folder", "project"),
    [("runs/train/exp", "onelook"), ("runs/bees/exp", "bees"), ("elsewhere/train/exp2", "train")],
)
def test_the_project_is_the_folder_of_the_run_folders(tmp_path: Path, folder: str, project: str) -> None:
    notebook = Notebook()
    (tmp_path / folder).mkdir(parents=True)
    observer = Detached({"notes": kind_of(notebook)})
    observer.on_fit_start(beginning(tmp_path / folder))
    observer.on_fit_end(fit_end(0))
    assert project_of(notebook.of("start")[0][0].run_folder) == project


def test_the_names_of_trackers_are_those_of_the_setting() -> None:
    assert tuple(TRACKERS) == TRACKER_NAMES


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], []),
        ("tensorboard", ["tensorboard"]),
        (["tensorboard,mlflow"], ["tensorboard", "mlflow"]),
        (["mlflow", "tensorboard"], ["mlflow", "tensorboard"]),
        ("mlflow, tensorboard,mlflow", ["mlflow", "tensorboard"]),
        ("none", []),
        ("none,mlflow", ["mlflow"]),
    ],
)
def test_track_takes_names_with_commas_or_spaces(given: Any, names: list[str]) -> None:
    settings = build_settings(TrainSettings, {"track": given})
    assert settings.track == names
    assert len(trackers_for(settings)) == (1 if names else 0), "off unless asked for"


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ("tensorbord", "`tensorbord`, which is not a tracker", "did you mean `tensorboard`?"),
        ("mlflow,MLFLOW", "`MLFLOW`", "did you mean `mlflow`?"),
        ("../evil", "`../evil`", "known are tensorboard, "),
    ],
)
def test_an_unknown_tracker_is_refused(given: str, message: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build_settings(TrainSettings, {"track": given})
    assert message in caught.value.message and hint in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "../../x", "a b", "x" * 129, "http://evil/run", "\0", "x\ny"])
def test_only_an_identity_is_taken_from_a_run_folder(tmp_path: Path, text: str) -> None:
    remember_identity(tmp_path, "mlflow", "9f3aB-_")
    assert recall_identity(tmp_path, "mlflow") == "9f3aB-_" and recall_identity(tmp_path, "wandb") is None
    (tmp_path / "mlflow_id").write_text(text)
    assert recall_identity(tmp_path, "mlflow") is None
