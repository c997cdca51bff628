"""Observers that a user gives: files and objects, the two examples, and that nobody else can have code run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from checkpoint_content import content_of
from command_runs import Home, run, state_of, texts
from option_runs import covers

import onelook
from onelook.errors import SettingsError
from onelook.files.yaml import load_yaml
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.runs.run_dir import RunDir

EXAMPLES = Path(__file__).parents[2] / "examples" / "callbacks"
SHORT = {"epochs": 2, "batch_size": 8, "imgsz": 64, "workers": 0, "device": "cpu", "noplots": True, "noreport": True}
NOTE = """
from pathlib import Path
import onelook

class Note(onelook.Callback):
    def on_fit_end(self, event):
        Path("noted").write_text(event.reason)
"""


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@covers("train", "callbacks")
def test_files_on_the_command_line_watch_the_run(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    note = home.file("note.py", NOTE)
    outcome = run(home.train("--epochs", 2, "--callbacks", note, EXAMPLES / "log_to_file.py"), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    assert Path("noted").read_text() == "finished"
    events = lines_of(Path("runs/train/exp/events.jsonl"))
    assert [event["event"] for event in events if event["event"] != "checkpoint"] == ["start", "epoch", "epoch", "end"]
    assert events[0]["images"] == 20 and events[0]["classes"] == ["square", "disc"]
    assert {event["file"] for event in events if event["event"] == "checkpoint"} == {
        "best.safetensors",
        "last.safetensors",
    }
    assert "epoch 1/1" in outcome.out, "the progress display is there too"


def test_the_example_ends_a_run_that_is_good_enough(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_MAP", "0")
    result = onelook.train(
        home.yaml, cfg=home.model, callbacks=[EXAMPLES / "stop_at_target.py"], **{**SHORT, "epochs": 5}
    )
    assert result.outcome.epochs_done == 1
    assert result.outcome.reason == f"mAP50-95 {result.metrics.map50_95:.3f} reaches 0.0"
    monkeypatch.setenv("TARGET_MAP", "0.99")
    monkeypatch.setenv("MAX_MINUTES", "0")
    result = onelook.train(home.yaml, cfg=home.model, callbacks=str(EXAMPLES / "stop_at_target.py"), **SHORT)
    assert result.outcome.epochs_done == 1 and result.outcome.reason.endswith("minutes have passed")
    monkeypatch.delenv("MAX_MINUTES")
    result = onelook.train(home.yaml, cfg=home.model, callbacks=[str(EXAMPLES / "stop_at_target.py")], **SHORT)
    assert result.outcome.epochs_done == 2 and result.outcome.reason == "finished"


def test_observers_do_not_change_the_weights_and_a_run_that_one_ended_goes_on(home: Home) -> None:
    class Stop(onelook.Callback):
        def on_fit_start(self, event: object) -> None:
            self.control = event.control  # type: ignore[attr-defined]

        def on_epoch_end(self, event: object) -> None:
            self.control.stop_training("enough")

    plain = onelook.train(home.yaml, cfg=home.model, callbacks=[], **SHORT)
    stopped = onelook.train(
        home.yaml, cfg=home.model, callbacks=[EXAMPLES / "log_to_file.py", Stop()], name="stopped", **SHORT
    )
    assert (stopped.outcome.reason, stopped.outcome.epochs_done) == ("enough", 1)
    resumed = onelook.train(resume=stopped.run_folder, callbacks=[EXAMPLES / "log_to_file.py"])
    assert content_of(resumed.best) == content_of(plain.best)
    events = [event["event"] for event in lines_of(resumed.run_folder / "events.jsonl")]
    assert events.count("start") == events.count("end") == events.count("epoch") == 2


def test_a_run_without_validations_that_an_observer_ends_is_validated_then(home: Home) -> None:
    class Stop(onelook.Callback):
        def on_epoch_end(self, event: object) -> None:
            self.control.stop_training("enough")

        def on_fit_start(self, event: object) -> None:
            self.control = event.control  # type: ignore[attr-defined]

    result = onelook.train(home.yaml, cfg=home.model, callbacks=[Stop()], noval=True, **{**SHORT, "epochs": 3})
    assert (result.outcome.reason, result.outcome.epochs_done, result.outcome.best_epoch) == ("enough", 1, 0)
    assert load_checkpoint(result.best).document["metrics"]["epoch"] == 0
    (row,) = csv.DictReader((result.run_folder / "results.csv").read_text().splitlines())
    assert float(row["metrics/mAP_0.5:0.95"]) == result.outcome.history[0]["metrics/mAP_0.5:0.95"]


def test_no_file_can_name_code(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.file("evil.py", "from pathlib import Path\nPath('owned').touch()\n")
    for name, option in (("settings.yaml", "--settings"), ("hyp.yaml", "--hyp")):
        file = home.file(name, "# mine\nlr0: 0.01\ncallbacks: [evil.py]\n")
        before = state_of(home.work, with_times=False)
        outcome = run(home.train(option, file), capsys)
        assert outcome.code == 64 and f"{name}` line 3" in outcome.err and "callbacks" in outcome.err
        assert state_of(home.work, with_times=False) == before
    assert "which no file may do\nhint: type it: `--callbacks`" in run(
        home.train("--settings", "settings.yaml"), capsys
    ).err  # fmt: skip
    home.describe(home.yaml.read_text() + "callbacks: [evil.py]\n")
    assert run(home.train(), capsys).code == 65
    assert not Path("owned").exists()


def test_a_checkpoint_neither_carries_nor_brings_code(home: Home) -> None:
    note = home.file("note.py", NOTE)
    result = onelook.train(home.yaml, cfg=home.model, callbacks=[note], **SHORT)
    assert Path("noted").is_file() and "callbacks" not in load_yaml(result.run_folder / "settings.yaml")
    checkpoint = load_checkpoint(result.last)
    assert "callbacks" not in checkpoint.document["settings"]
    Path("noted").unlink()
    home.file("evil.py", "from pathlib import Path\nPath('owned').touch()\n" + NOTE)
    checkpoint.document["settings"]["callbacks"] = ["evil.py", str(note)]
    save_checkpoint(RunDir(result.run_folder).last, checkpoint.tensors, checkpoint.document)
    onelook.train(resume=result.run_folder, epochs=3, callbacks=[])
    assert not Path("owned").exists() and not Path("noted").exists()
    onelook.train(resume=result.run_folder, epochs=4, callbacks=[note])
    assert Path("noted").read_text() == "finished"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import onelook\nclass A(onelook.Callback)\n", "`watch.py` line 2: SyntaxError: expected ':'"),
        ("x = 1\n", "`watch.py` has no callback"),
        (None, "`callbacks` names `watch.py`, which is not a Python file"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_written(
    home: Home, capsys: pytest.CaptureFixture[str], text: str | None, says: str
) -> None:
    if text is not None:
        home.file("watch.py", text)
    before = state_of(home.work, with_times=False)
    outcome = run([*home.train(), *texts("--callbacks", "watch.py")], capsys)
    assert outcome.code == 64 and says in outcome.err and outcome.err.count("hint: ") == 1
    assert state_of(home.work, with_times=False) == before


def test_what_is_neither_object_nor_file_is_refused(home: Home) -> None:
    with pytest.raises(SettingsError, match="neither a `Callback` nor the path of a Python file") as caught:
        onelook.train(home.yaml, cfg=home.model, callbacks=[onelook.Callback], **SHORT)
    assert "give objects, not classes" in (caught.value.hint or "")
    with pytest.raises(SettingsError, match="has 3, which is neither"):
        onelook.train(home.yaml, cfg=home.model, callbacks=[3], **SHORT)
