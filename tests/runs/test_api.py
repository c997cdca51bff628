"""The library as a program uses it: the verbs with keywords, and observers of one's own."""

from __future__ import annotations

import importlib
import signal
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from checkpoint_content import content_of
from command_runs import Home, state_of

import onelook
from onelook.errors import CheckpointError, DataError, ModelError, SettingsError, StopRequested
from onelook.recipes.serve import Service
from onelook.training.callback import CheckpointWritten, EpochEnd, FitEnd, FitStart, StepEnd

SHORT = {"epochs": 2, "batch_size": 8, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True, "noreport": True}


@dataclass
class Recorder(onelook.Callback):
    """Writes down the names of the events, and keeps the events."""

    names: list[str] = field(default_factory=list)
    events: list[object] = field(default_factory=list)

    def note(self, name: str, event: object) -> None:
        self.names.append(name)
        self.events.append(event)

    def on_fit_start(self, event: FitStart) -> None:
        self.note("start", event)

    def on_step_end(self, event: StepEnd) -> None:
        self.note("step", event)

    def on_epoch_end(self, event: EpochEnd) -> None:
        self.note("epoch", event)

    def on_checkpoint_written(self, event: CheckpointWritten) -> None:
        self.note("saved", event)

    def on_fit_end(self, event: FitEnd) -> None:
        self.note("end", event)


class Failing(onelook.Callback):
    """Fails at every step."""

    def __init__(self) -> None:
        self.calls = 0

    def on_step_end(self, event: StepEnd) -> None:
        self.calls += 1
        raise ValueError("no room on the whiteboard")


@pytest.mark.parametrize("name", onelook.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    module = importlib.import_module("onelook")
    assert getattr(module, name).__doc__, "and says what it is"


def test_public_names_are_sorted_and_others_are_refused() -> None:
    assert sorted(onelook.__all__) == onelook.__all__
    with pytest.raises(AttributeError, match="has no attribute `trian`"):
        _ = onelook.trian


def test_train_gives_metrics_and_paths(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = state_of(home.data)
    result = onelook.train(home.yaml, cfg=home.model, **SHORT)
    assert result.best == Path("runs/train/exp/weights/best.safetensors") and result.best.is_file()
    assert result.last.is_file() and result.run_folder == Path("runs/train/exp")
    assert 0 <= result.metrics.map50_95 <= result.metrics.map50 <= 1
    assert result.names == ("square", "disc")
    assert (result.outcome.reason, result.outcome.epochs_done) == ("finished", 2)
    assert len(result.outcome.history) == 2 and result.outcome.best_fitness == result.metrics.fitness
    assert "epoch 1/1" in capsys.readouterr().out, "the progress is shown unless observers are given"
    onelook.train(data=str(home.yaml), cfg=str(home.model), callbacks=[], **SHORT)
    assert capsys.readouterr().out == ""
    assert state_of(home.data) == before


def test_train_resumes_a_run_that_was_stopped(home: Home) -> None:
    class Stop(onelook.Callback):
        def on_step_end(self, event: StepEnd) -> None:
            if event.step == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(StopRequested):
        onelook.train(home.yaml, cfg=home.model, callbacks=[Stop()], **SHORT)
    recorder = Recorder()
    result = onelook.train(resume=True, callbacks=[recorder])
    assert result.outcome.epochs_done == 2 and recorder.names.count("step") == 4
    start = recorder.events[0]
    assert isinstance(start, FitStart) and (start.start_epoch, start.start_batch) == (0, 2)


def test_observers_see_the_events_in_order(home: Home) -> None:
    recorder = Recorder()
    onelook.train(home.yaml, cfg=home.model, callbacks=[recorder], nosave=True, **SHORT)
    epoch = ["step", "step", "step", "epoch"]
    assert recorder.names == ["start", *epoch, *epoch, "saved", "saved", "end"]
    start, *_, best, last, end = recorder.events
    assert isinstance(start, FitStart) and start.num_train_images == 20 and start.batches_per_epoch == 3
    assert isinstance(best, CheckpointWritten) and best.path.name == "best.safetensors"
    assert isinstance(last, CheckpointWritten) and last.path.name == "last.safetensors" and last.step == 6
    assert isinstance(end, FitEnd) and end.reason == "finished"
    steps = [event for event in recorder.events if isinstance(event, StepEnd)]
    assert [(event.epoch, event.batch, event.step) for event in steps] == [
        (0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4), (1, 1, 5), (1, 2, 6),
    ]  # fmt: skip
    assert [event.num_images for event in steps] == [7, 7, 6] * 2


def test_an_observer_that_fails_is_switched_off_and_changes_nothing(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = onelook.train(home.yaml, cfg=home.model, callbacks=[], **SHORT)
    failing, recorder = Failing(), Recorder()
    result = onelook.train(home.yaml, cfg=home.model, callbacks=[failing, recorder], **SHORT)
    assert failing.calls == 1 and recorder.names.count("step") == 6
    assert f"callback `Failing` failed in `{__file__}` line " in caplog.text
    assert content_of(result.best) == content_of(undisturbed.best)


def test_load_gives_a_function_of_images(home: Home) -> None:
    detector = onelook.load(home.weights, device="cpu", conf_thres=0.001, imgsz=64, max_det=7)
    assert detector.names == ("square", "disc")
    path = home.image("test")
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    from_path, from_text, from_array = detector(path), detector(str(path)), detector(rgb)
    assert isinstance(from_path, onelook.Detections) and 0 < len(from_path) <= 7
    for other in (from_text, from_array):
        assert isinstance(other, onelook.Detections)
        assert np.array_equal(other.boxes, from_path.boxes) and np.array_equal(other.scores, from_path.scores)
    assert from_path.boxes.min() >= 0 and from_path.boxes.max() <= 96 and (np.diff(from_path.scores) <= 0).all()
    several = detector([path, rgb, home.image("test", 1)])
    assert isinstance(several, list) and len(several) == 3
    folder = detector(path.parent)
    assert isinstance(folder, list) and len(folder) == 4 and np.array_equal(folder[0].boxes, from_path.boxes)


def test_load_refuses_what_it_cannot_use(home: Home) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors` does not exist"):
        onelook.load("none.safetensors")
    with pytest.raises(ModelError, match="has no branch `one`"):
        onelook.load(home.weights, device="cpu", head="one")
    with pytest.raises(SettingsError, match="multiples of 32"):
        onelook.load(home.weights, device="cpu", imgsz=100)
    with pytest.raises(SettingsError, match="did you mean `conf_thres`"):
        onelook.load(home.weights, device="cpu", conf_thresh=0.1)
    with pytest.raises(SettingsError, match="- `save_txt` in the command; known are weights, head"):
        onelook.load(home.weights, device="cpu", save_txt=True)
    with pytest.raises(SettingsError, match="`conf_thres` is `7`"):
        onelook.load(home.weights, device="cpu", conf_thres=7)
    detector = onelook.load(home.weights, device="cpu", imgsz=64)
    with pytest.raises(DataError, match="is not an image"):
        detector(np.zeros((5, 5)))
    with pytest.raises(DataError, match=r"no\.jpg` does not exist"):
        detector("no.jpg")


def test_a_validation_in_several_processes_is_refused_before_they_start(home: Home) -> None:
    with pytest.raises(SettingsError, match=r"`onelook\.validate` takes one process, and these settings ask for 2"):
        onelook.validate(home.weights, home.yaml, imgsz=64, nproc=2, device="cpu", noplots=True)
    assert not Path("runs").exists()


def test_validate_detect_and_check_do_what_their_commands_do(home: Home) -> None:
    validated = onelook.validate(home.weights, home.yaml, imgsz=64, workers=0, device="cpu", noplots=True)
    assert validated.metrics.num_images == 6 and validated.names == ("square", "disc")
    assert (validated.run_folder / "metrics.json").is_file() and len(validated.evaluation.detections) == 6
    detected = onelook.detect(
        home.weights, home.image("test").parent, imgsz=64, conf_thres=0.001, device="cpu", nosave=True
    )
    assert detected.run_folder is None and not Path("runs/detect").exists()
    assert [frame.path.name for frame in detected.frames] == ["000.jpg", "001.jpg", "002.jpg", "003.jpg"]
    loaded = onelook.load(home.weights, device="cpu", imgsz=64, conf_thres=0.001)(home.image("test"))
    assert isinstance(loaded, onelook.Detections)
    assert np.array_equal(detected.frames[0].detections.boxes, loaded.boxes)
    ledgers = onelook.check(home.yaml).ledgers
    assert list(ledgers) == ["train", "val", "test"] and ledgers["train"].images_found == 20
    home.label().write_text("0 .5 .5 .2\n")
    assert onelook.check(home.yaml).ledgers["train"].rows_refused == 1
    with pytest.raises(DataError, match=r"000\.txt` line 1"):
        onelook.check(home.yaml, strict=True)


def test_split_download_convert_info_and_serve_do_what_their_commands_do(home: Home) -> None:
    result = onelook.split(home.yaml, "folds", folds=3, near=-1)
    assert result.data[2] == Path("folds/fold3/data.yaml").absolute() and result.num_groups == 30
    with pytest.raises(SettingsError, match="fractions"):
        onelook.split(home.yaml, "other", fractions=[2.0, 1.0])
    with pytest.raises(onelook.OnelookError, match="download"):
        onelook.download(home.yaml)
    small = onelook.convert(home.weights, "small.safetensors", ema_only=True, half=True)
    assert small.path == Path("small.safetensors") and small.names == ("square", "disc")
    with pytest.raises(SettingsError, match=r"small\.safetensors"):
        onelook.convert(str(home.weights), "small.safetensors", half=True)
    known = onelook.info("small.safetensors", imgsz=64)
    assert known.num_bytes == small.path.stat().st_size and known.summary is not None
    places: list[str] = []

    def stop(service: Service) -> None:
        places.append(service.url)
        signal.raise_signal(signal.SIGTERM)

    done = onelook.serve("small.safetensors", port=0, device="cpu", imgsz=64, on_start=stop)
    assert (done.answered, done.failed) == (0, 0) and places[0].startswith("http://127.0.0.1:")


def test_mistakes_raise_what_can_be_caught_as_one(home: Home) -> None:
    for wrong in ({"epoch": 3}, {"epochs": 0}, {"cfg": "yolov5q"}, {"device": "99"}, {"data": "no.yaml"}):
        with pytest.raises(onelook.OnelookError) as caught:
            onelook.train(**{"data": home.yaml, "cfg": home.model, **wrong})
        assert caught.value.exit_code > 0 and caught.value.message
    assert not list(home.work.iterdir()), "nothing is written for them"


def test_settings_can_be_inspected() -> None:
    settings = onelook.TrainSettings(epochs=3)
    assert (settings.epochs, settings.lr0) == (3, 0.01)
    assert onelook.create_model("yolov5n", num_classes=2).num_classes == 2
