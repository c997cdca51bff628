"""The MLflow store of a run, read back with MLflow's own client."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stop_at import StopAt
from tracker_runs import REAL_RUN, Draw, follow, results_of

from onelook.callbacks.trackers.mlflow import MlflowTracker
from onelook.errors import StopRequested
from onelook.recipes.train import train
from onelook.training.weights import load_detector

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Metrics = dict[str, dict[int, float]]


def connect(address: str) -> MlflowClient:
    """A connection made by MLflow as the tracker imports it: otherwise it would report that it is used."""
    MlflowTracker()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=address)


def client_of(project: Path) -> MlflowClient:
    return connect(f"sqlite:///{project / 'mlflow.db'}")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database: to make one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    client_of(folder).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def settings(tiny_run: dict[str, Any], empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a run beside an empty database, with no variable of MLflow's set."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    tiny_run["project"].mkdir()
    (tiny_run["project"] / "mlflow.db").write_bytes(empty_database.read_bytes())
    return tiny_run


def runs_of(client: MlflowClient, experiment: str) -> list[Run]:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id]))


def metrics_of(client: MlflowClient, run: Run) -> Metrics:
    """Key -> step -> value of the rows."""
    found: Metrics = {}
    for key in run.data.metrics:
        if key.startswith("best/"):
            continue
        history = client.get_metric_history(run.info.run_id, key)
        found[key] = {metric.step: metric.value for metric in history}
        assert len(found[key]) == len(history), f"{key} has two values for one step"
    return found


def check_metrics(client: MlflowClient, run: Run, folder: Path, num_epochs: int) -> None:
    """Every number of every line of results.csv is there, with all its digits, and nothing else."""
    results = results_of(folder)
    assert list(results) == list(range(num_epochs))
    expected: Metrics = {}
    for epoch, row in results.items():
        for name, value in row.items():
            expected.setdefault(name, {})[epoch] = value
    assert metrics_of(client, run) == expected


def files_of(client: MlflowClient, run: Run, folder: str = "") -> dict[str, Path]:
    """Artifacts of one folder by name."""
    place = Path(client.download_artifacts(run.info.run_id, folder))
    return {path.name: path for path in place.iterdir() if path.is_file()}


def test_a_run_reads_back_as_its_results(settings: dict[str, Any]) -> None:
    result = follow("mlflow", settings, Draw(), save_period=1)
    client = client_of(settings["project"])
    (run,) = runs_of(client, "runs")
    assert (run.info.run_name, run.info.status) == ("exp", "FINISHED")
    check_metrics(client, run, result.run_folder, 2)
    (final,) = client.get_metric_history(run.info.run_id, "best/mAP_0.5:0.95")
    assert (final.step, final.value) == (result.outcome.best_epoch, result.metrics.map50_95)
    params = run.data.params
    assert (params["batch_size"], params["optimizer"], params["hsv_h"]) == ("10", "AdamW", "0.015")
    folder, models = result.run_folder, files_of(client, run, "weights")
    assert sorted(models) == ["best.safetensors", "epoch0.safetensors", "epoch1.safetensors"]
    assert all(path.read_bytes() == (folder / "weights" / name).read_bytes() for name, path in models.items())
    assert load_detector(models["best.safetensors"]).num_classes == 2
    assert run.data.tags["model.best"] == "weights/best.safetensors"
    images = files_of(client, run, "images")
    assert sorted(images) == ["labels.png", "results.jpg"]
    assert all(path.read_bytes() == (folder / name).read_bytes() for name, path in images.items())
    tables = files_of(client, run)
    for name in ("settings.yaml", "results.csv", "metrics.json"):
        assert tables[name].read_bytes() == (folder / name).read_bytes()
    assert json.loads(tables["classes.json"].read_text()) == {"0": "square", "1": "disc"}


def test_a_resumed_run_continues_in_the_same_mlflow_run(settings: dict[str, Any]) -> None:
    client = client_of(settings["project"])
    with pytest.raises(StopRequested):
        follow("mlflow", {**settings, "epochs": 3}, StopAt(3))
    assert [run.info.status for run in runs_of(client, "runs")] == ["KILLED"]
    result = follow("mlflow", {"resume": str(settings["project"] / "exp")})
    (run,) = runs_of(client, "runs")
    assert run.info.status == "FINISHED"
    check_metrics(client, run, result.run_folder, 3)


@pytest.mark.slow  # a second case of resuming
def test_epochs_that_are_done_again_are_logged_once(settings: dict[str, Any]) -> None:
    follow("mlflow", {**settings, "epochs": 3, "save_period": 1})
    old = settings["project"] / "exp" / "weights" / "epoch0.safetensors"
    result = follow("mlflow", {"resume": str(old)})
    client = client_of(settings["project"])
    (run,) = runs_of(client, "runs")
    check_metrics(client, run, result.run_folder, 3)


@pytest.mark.slow  # a second case of resuming
def test_an_extended_run_says_what_has_changed(settings: dict[str, Any]) -> None:
    follow("mlflow", settings)
    result = follow("mlflow", {"resume": str(settings["project"] / "exp"), "epochs": 3})
    client = client_of(settings["project"])
    (run,) = runs_of(client, "runs")
    assert (run.data.params["epochs"], run.data.tags["resumed.epochs"]) == ("2", "3")
    check_metrics(client, run, result.run_folder, 3)


@pytest.mark.slow  # a second case of resuming
def test_a_run_that_mlflow_has_lost_begins_again(settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StopRequested):
        train(settings, callbacks=[StopAt(2)])
    (settings["project"] / "exp" / "mlflow_id").write_text("0123456789abcdef0123456789abcdef\n")
    result = follow("mlflow", {"resume": str(settings["project"] / "exp")})
    assert "MLflow run `0123456789abcdef0123456789abcdef` cannot be resumed" in caplog.text
    (run,) = runs_of(client_of(settings["project"]), "runs")
    assert list(results_of(result.run_folder)) == [0, 1] and run.info.status == "FINISHED"


def test_the_store_is_where_the_user_says(settings: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    address = (tmp_path / "my runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "bees")
    result = follow("mlflow", settings)
    client = connect(address)
    (run,) = runs_of(client, "bees")
    check_metrics(client, run, result.run_folder, 2)
    assert run.info.artifact_uri.startswith(address) and "best.safetensors" in files_of(client, run, "weights")


def test_a_store_that_does_not_answer_costs_a_warning(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-scheme://bees")
    assert follow("mlflow", settings).outcome.reason == "finished"
    assert "tracker `mlflow` failed and is switched off" in caplog.text


def test_what_mlflow_needs_for_a_database_can_be_missing(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "alembic", None)
    assert follow("mlflow", settings, epochs=1).outcome.reason == "finished"
    assert 'package `alembic` is missing; install it with `pip install "onelook[track]"`' in caplog.text


def test_mlflow_reports_nothing_and_says_nothing(settings: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    follow("mlflow", settings)
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    assert logging.getLogger("mlflow").level == logging.WARNING
    assert "INFO" not in capfd.readouterr().err


def test_awkward_folder_names_are_no_obstacle(settings: dict[str, Any]) -> None:
    project = settings["project"] / "bees & 50 % größer"
    project.mkdir()
    (settings["project"] / "mlflow.db").rename(project / "mlflow.db")
    result = follow("mlflow", {**settings, "project": project})
    (run,) = runs_of(client_of(project), project.name)
    check_metrics(client_of(project), run, result.run_folder, 2)
    assert "best.safetensors" in files_of(client_of(project), run, "weights")


@pytest.mark.slow
def test_a_run_on_real_images_reads_back_as_its_results(settings: dict[str, Any]) -> None:
    result = follow("mlflow", {**settings, **REAL_RUN})
    client = client_of(settings["project"])
    (run,) = runs_of(client, "runs")
    check_metrics(client, run, result.run_folder, REAL_RUN["epochs"])
    drawn = [path.name for path in result.run_folder.iterdir() if path.suffix in {".png", ".jpg"}]
    assert sorted(files_of(client, run, "images")) == sorted(drawn) and len(drawn) > 10
