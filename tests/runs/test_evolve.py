"""The search of hyperparameters by real trainings, each of a fraction of a second."""

from __future__ import annotations

import csv
import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from checkpoint_content import content_of
from command_runs import Home, run
from option_runs import Options, covers, fit
from torch.nn.modules.module import register_module_forward_pre_hook

import onelook
from onelook.cli.evolve import best_hyperparameters
from onelook.cli.main import main
from onelook.errors import RunFolderError, SettingsError, StopRequested
from onelook.files.yaml import load_yaml
from onelook.models.detector import DetectionModel
from onelook.recipes.evolve import EvolveResult, evolve
from onelook.runs.run_dir import RunDir
from onelook.search.history import Row

METHODS = ("genetic", "optuna")
# For what both methods get from the same code.
ONE_METHOD = ("genetic", pytest.param("optuna", marks=pytest.mark.slow))


@pytest.fixture
def search(tiny_data: Path, tiny_model: Path, tmp_path: Path) -> Options:
    """Settings of a search of 2 trials of 1 epoch."""
    quick = {"epochs": 1, "batch_size": 10, "imgsz": 64, "workers": 0, "device": "cpu", "noautoanchor": True}
    place = {"data": tiny_data, "cfg": str(tiny_model), "project": tmp_path / "searches", "noplots": True}
    return {**quick, **place, "evolve": 2}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stop_after(number: int) -> Callable[[Row, Sequence[Row]], None]:
    """An observer that sends this process a SIGTERM when a trial is done."""

    def observe(row: Row, rows: Sequence[Row]) -> None:
        if row.generation == number:
            os.kill(os.getpid(), signal.SIGTERM)

    return observe


@covers("evolve", "evolve", "evolve_method")
@pytest.mark.parametrize("method", METHODS)
def test_search_leaves_its_history_its_best_and_the_weights_of_that(search: Options, method: str) -> None:
    result = evolve(search | {"evolve_method": method, "evolve": 3, "epochs": 2, "noplots": method == "optuna"})
    folder = result.run_folder
    assert folder == search["project"] / "exp"
    rows = rows_of(folder / "evolve.csv")
    assert [row["generation"] for row in rows] == ["0", "1", "2"]
    assert (folder / "study.journal").is_file() == (method == "optuna")
    assert result.best is not None and result.best == max(result.rows, key=lambda row: row.fitness)
    kept = sorted(path.parent.parent.name for path in folder.glob("trials/*/weights/best.safetensors"))
    assert kept == [f"{result.best.generation:04}"]
    assert result.weights == folder / "trials" / kept[0] / "weights" / "best.safetensors"
    best = load_yaml(result.hyp)
    assert {name: best[name] for name in result.best.genes} == result.best.genes
    for row in rows:
        trial = folder / "trials" / f"{int(row['generation']):04}"
        settings = load_yaml(trial / "settings.yaml")
        assert {name: settings[name] for name in result.start} == {name: float(row[name]) for name in result.start}
        validated = [cells["metrics/recall"] != "" for cells in rows_of(trial / "results.csv")]
        assert len(validated) == int(row["epochs"])
        assert method == "optuna" or validated == [False, True], "genetic trials are validated at their end only"
        assert not list(trial.glob("*.png")) and not list(trial.glob("*.jpg"))
    assert (folder / "evolve.png").exists() == (method == "genetic")


def test_genetic_trials_are_validated_after_each_epoch_if_asked(search: Options) -> None:
    folder = evolve(search | {"evolve": 1, "epochs": 2, "evolve_method": "genetic", "noval": False}).run_folder
    assert all(row["metrics/recall"] for row in rows_of(folder / "trials" / "0000" / "results.csv"))


def test_bad_trials_are_pruned(search: Options) -> None:
    result = evolve(search | {"evolve": 3, "epochs": 4, "batch_size": 20, "evolve_method": "optuna"})
    assert {(row.state, row.epochs < 4) for row in result.rows} == {("complete", False), ("pruned", True)}
    assert not any((result.run_folder / "trials" / f"{row.generation:04}" / "weights").exists()
                   for row in result.rows if row.state == "pruned")  # fmt: skip


@pytest.mark.parametrize("method", ONE_METHOD)
def test_search_sets_out_from_what_a_plain_training_would_do(search: Options, method: str, tmp_path: Path) -> None:
    plain = fit({name: value for name, value in search.items() if name != "evolve"}, project=tmp_path / "plain")
    result = evolve(search | {"evolve": 1, "evolve_method": method, "noval": False})
    first = result.rows[0]
    assert "no trial was better" in str(best_hyperparameters(result, first))
    assert first.fitness == plain.result.metrics.fitness
    assert first.genes["lr0"] == 0.001, "short runs take AdamW and its rates"
    assert first.results[4:] == tuple(plain.result.outcome.history[plain.result.outcome.best_epoch][f"val/{part}_loss"]
                                      for part in ("box", "obj", "cls"))  # fmt: skip


def test_command_at_the_end_repeats_the_best_trial_bit_for_bit(search: Options, tmp_path: Path) -> None:
    result = evolve(search | {"evolve": 2, "epochs": 2, "evolve_method": "optuna", "label_smoothing": 0.05})
    assert result.best is not None and result.weights is not None
    words = shlex.split(result.command)
    assert words[:2] == ["onelook", "train"] and f"# {' ' * 2}{result.command}" in result.hyp.read_text()
    assert main([*words[1:], "--project", str(tmp_path / "again"), "--noplots"]) == 0
    again = tmp_path / "again" / "exp"
    trial = result.weights.parent.parent
    assert (again / "results.csv").read_bytes() == (trial / "results.csv").read_bytes()
    assert onelook.validate(again / "weights" / "best.safetensors", search["data"], imgsz=64, batch_size=10, workers=0,
                            device="cpu", noplots=True, project=tmp_path).metrics.fitness > 0  # fmt: skip


@covers("evolve", "resume_evolve")
@pytest.mark.parametrize("method", ONE_METHOD)
def test_search_that_is_stopped_goes_on_to_the_same_bits(search: Options, method: str, tmp_path: Path) -> None:
    given = search | {"evolve_method": method}
    whole = evolve(given | {"name": "whole"}).run_folder
    between = tmp_path / "stops.py"
    between.write_text(
        "import os, signal, onelook\n"
        "class Stops(onelook.Callback):\n"
        "    def on_epoch_end(self, event):\n"
        "        if self.folder == '0001': os.kill(os.getpid(), signal.SIGTERM)\n"
        "    def on_fit_start(self, event): self.folder = event.run_folder.name\n"
    )
    with pytest.raises(StopRequested) as caught:
        evolve(given | {"name": "bees"}, observer=stop_after(0))
    folder = given["project"] / "bees"
    assert f"resume with: onelook evolve --resume-evolve {folder}" in str(caught.value)
    with pytest.raises(StopRequested):  # within a trial
        evolve({"resume_evolve": str(folder), "callbacks": [between]})
    assert [row["generation"] for row in rows_of(folder / "evolve.csv")] == ["0"]
    assert not (folder / "trials" / "0001").exists()
    again = evolve({"resume_evolve": str(folder / "evolve.csv")})
    assert again.run_folder == folder
    for name in ("evolve.csv", "trials/0001/results.csv"):
        assert content_of(folder / name) == content_of(whole / name)


@pytest.mark.parametrize(
    ("method", "way"),
    [("genetic", {"resume": True}), pytest.param("optuna", {"exist_ok": True}, marks=pytest.mark.slow)],
)
def test_same_command_resumes_where_it_may_use_the_folder(search: Options, method: str, way: dict[str, Any]) -> None:
    given = search | {"evolve_method": method}
    folder = evolve(given | {"evolve": 1}).run_folder
    if method == "genetic":
        with RunDir(folder).lock(), pytest.raises(RunFolderError, match="is in use"):
            evolve(given | {"exist_ok": True})
    result = evolve(given | way | {"evolve": 2})
    assert result.run_folder == given["project"] / "exp" and len(result.rows) == 2
    assert evolve(given | {"evolve": 1}).run_folder == given["project"] / "exp2"


@pytest.mark.parametrize("method", ONE_METHOD)
def test_trial_that_fails_is_noted_and_the_search_goes_on(search: Options, method: str) -> None:
    is_broken = False

    def fail(module: object, _: object) -> None:
        if is_broken and isinstance(module, DetectionModel):
            raise RuntimeError("the hive\nhas fallen over")

    def observe(row: Row, rows: Sequence[Row]) -> None:
        nonlocal is_broken
        is_broken = row.generation == 0

    handle = register_module_forward_pre_hook(fail)
    try:
        rows = evolve(search | {"evolve": 3, "evolve_method": method}, observer=observe).rows
    finally:
        handle.remove()
    assert [row.state == "failed" for row in rows] == [False, True, False]
    assert rows[1].fitness == 0 and rows[1].note.startswith("RuntimeError: the hive")


def test_first_trial_that_fails_for_a_strange_reason_ends_the_search(search: Options) -> None:
    def fail(module: object, _: object) -> None:
        if isinstance(module, DetectionModel):
            raise RuntimeError("nothing works")

    handle = register_module_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="nothing works"):
            evolve(search)
    finally:
        handle.remove()


@covers("evolve", "evolve_population")
@pytest.mark.parametrize("method", ONE_METHOD)
def test_population_is_tried_after_the_start(search: Options, method: str, tmp_path: Path) -> None:
    folder = tmp_path / "population"
    folder.mkdir()
    (folder / "a.yaml").write_text("cls: 0.7\nmixup: 0.25\n")
    rows = evolve(search | {"evolve": 2, "evolve_method": method, "evolve_population": str(folder)}).rows
    assert rows[1].genes == rows[0].genes | {"cls": 0.7, "mixup": 0.25}


@covers("evolve", "evolve_storage")
def test_searches_share_a_storage(search: Options, tmp_path: Path) -> None:
    given = search | {"evolve_method": "optuna", "evolve_storage": str(tmp_path / "shared" / "journal")}
    first = evolve(given | {"evolve": 1})
    second = evolve(given)
    assert first.run_folder != second.run_folder
    assert second.rows[:1] == first.rows and len(second.rows) == 2
    assert [path.name for path in (second.run_folder / "trials").iterdir()] == ["0001"]
    with pytest.raises(SettingsError, match="searches with `imgsz` 64, not 96"):
        evolve(given | {"imgsz": 96})


@covers("evolve", "bucket")
@pytest.mark.parametrize("method", ONE_METHOD)
def test_searches_exchange_their_trials_through_a_bucket(search: Options, method: str, tmp_path: Path) -> None:
    given = search | {"bucket": f"file://{tmp_path}/bucket", "evolve_method": method, "evolve": 1}
    evolve(given)
    result = evolve(given | {"seed": 1})
    assert [row.key for row in result.rows] == [(0, 0), (1, 0)]
    assert (tmp_path / "bucket" / "evolve.csv").read_bytes() == (result.run_folder / "evolve.csv").read_bytes()
    alone = evolve(search | {"evolve": 1, "evolve_method": method, "seed": 1})
    assert result.rows[1] == alone.rows[0]


def test_anchors_are_searched_unless_they_are_not_to_be_touched(search: Options) -> None:
    quick = search | {"evolve_method": "genetic"}
    without = evolve(quick | {"evolve": 1}).rows
    assert "anchors" not in without[0].genes
    given = evolve(quick | {"noautoanchor": False}).rows
    assert given[0].genes["anchors"] == 3.0 and given[1].genes["anchors"] != 3.0


def test_start_outside_of_what_is_searched_is_brought_in_with_a_warning(
    search: Options, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = evolve(search | {"evolve": 1, "box": 0.5, "name": "cfg"})
    assert result.rows[0].genes["box"] == 0.2
    assert result.run_folder == search["project"] / "tiny", "it may be called after the model"
    assert "`box` 0.5 lies outside of what is searched: starting from 0.2" in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"device": "0,1"}, "one device at a time, not on `device: 0,1`"),
        ({"nproc": 2}, "one device at a time"),
        ({"evolve_method": "genetic", "evolve_storage": "x"}, "`evolve_storage` has no effect on the genetic search"),
        ({"resume_evolve": "nowhere"}, "`nowhere` is not the folder of a search"),
        ({"evolve_population": "nowhere"}, "where no YAML file is"),
        ({"bucket": "bees"}, "does not say where it is"),
        ({"evolve": 0}, "`evolve` is `0`"),
        ({"evolves": 3}, "did you mean `evolve`"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_is_left(
    search: Options, given: Options, says: str, tmp_path: Path
) -> None:
    with pytest.raises((SettingsError, RunFolderError)) as caught:
        evolve(search | given)
    assert says in str(caught.value)
    assert not (tmp_path / "searches").exists()


def test_search_under_a_launcher_is_refused(search: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="started by a launcher"):
        evolve(search)


def test_search_that_goes_on_cannot_change_what_it_searches(search: Options) -> None:
    folder = evolve(search | {"evolve": 1}).run_folder
    with pytest.raises(SettingsError, match=r"`cls` was 0\.5 and would become 0\.7") as caught:
        evolve({"resume_evolve": str(folder), "cls": 0.7, "evolve": 2})
    assert "may change " in str(caught.value) and "cache" in str(caught.value)
    assert len(evolve({"resume_evolve": str(folder), "evolve": 2, "cache": "ram"}).rows) == 2


def test_search_on_changed_data_does_not_go_on(search: Options, home: Home) -> None:
    folder = evolve(search | {"data": home.yaml, "evolve": 1}).run_folder
    home.label().write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(RunFolderError, match="have changed since search"):
        evolve({"resume_evolve": str(folder), "evolve": 2})


def test_without_optuna_the_genetic_search_takes_its_place(
    search: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("onelook.search.plan.find_spec", lambda name: None if name == "optuna" else find(name))
    with caplog.at_level(logging.INFO):
        folder = evolve(search | {"evolve": 1}).run_folder
    assert 'using the genetic search, which needs more epochs (pip install "onelook[tune]")' in caplog.text
    assert load_yaml(folder / "settings.yaml")["evolve_method"] == "genetic"
    with pytest.raises(SettingsError, match="package `optuna`, which is not installed") as caught:
        evolve(search | {"evolve_method": "optuna"})
    assert caught.value.hint == 'pip install "onelook[tune]"'


def words(home: Home, command: str, *others: object) -> list[str]:
    return [command, *(word for word in home.train(*others)[1:] if word != "--noreport")]


@pytest.mark.parametrize("command", ["train", pytest.param("evolve", marks=pytest.mark.slow)])
def test_command_shows_a_line_per_trial_and_the_best(
    command: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(words(home, command, "--evolve", 2, "--evolve-method", "genetic"), capsys)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    trials = [line for line in lines if line.startswith("trial ")]
    assert [line.split(":")[0] for line in trials[:2]] == ["trial 0", "trial 1"]
    assert trials[0].endswith("1 epoch best so far") and "epoch 0/" not in outcome.out
    assert any(line.startswith(("hyperparameter ", "no trial was better")) for line in lines)
    assert "2 trials (2 complete), 2 epochs trained; results are in runs/evolve/exp" in lines
    assert any(line.startswith("  onelook train --data=") for line in lines)
    outcome = run(words(home, command, "--resume-evolve", "runs/evolve/exp", "--evolve", 3), capsys)
    assert outcome.code == 0 and "trial 2: " in outcome.out and "trial 1: " not in outcome.out


def test_stopped_command_ends_with_75_and_says_how_to_go_on(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    stop = home.file("stops.py", (
        "import os, signal, onelook\n"
        "class Stops(onelook.Callback):\n"
        "    def on_epoch_end(self, event): os.kill(os.getpid(), signal.SIGTERM)\n"
    ))  # fmt: skip
    outcome = run(words(home, "evolve", "--evolve", 3, "--callbacks", stop), capsys)
    assert outcome.code == 75
    assert "resume with: onelook evolve --resume-evolve runs/evolve/exp" in outcome.err


@pytest.mark.parametrize("option", ["--bucket", "--evolve-storage", "--evolve-population", "--evolve-method"])
def test_train_refuses_options_of_a_search_without_evolve(
    option: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "genetic" if option == "--evolve-method" else "somewhere"
    outcome = run(words(home, "train", option, value), capsys)
    assert outcome.code == 64
    assert "has no effect without `evolve`" in outcome.err and "add `--evolve`" in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("place", ["--evolve-storage=shared.journal", "--exist-ok"])
def test_two_commands_at_once_share_the_trials(place: str, home: Home) -> None:
    command = [sys.executable, "-m", "onelook", *words(home, "evolve", "--evolve", 8, place)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate(timeout=300)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    done = [[line.split(":")[0] for line in own if ": fitness" in line] for own in lines]
    assert sorted(done[0] + done[1]) == sorted(f"trial {number}" for number in range(8))
    histories = [path.read_text() for path in Path("runs/evolve").glob("*/evolve.csv")]
    assert max(text.count("\n") for text in histories) == 9


def test_python_has_the_search_too_and_tells_the_result_of_a_finished_one_again(search: Options) -> None:
    data, search["evolve"] = search.pop("data"), 1
    seen: list[Row] = []
    before = logging.getLogger("onelook").level
    result: EvolveResult = onelook.evolve(data, observer=lambda row, rows: seen.append(row), **search)
    assert tuple(seen) == result.rows
    assert logging.getLogger("onelook").level == before, "it says as much as before"
    assert evolve({"resume_evolve": str(result.run_folder)}) == result
