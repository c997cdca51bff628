"""The settings that W&B takes do what their texts say, as its offline store shows; each test fails without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_runs import Home, run
from option_runs import Options, covers, fit
from wandb_store import forget_wandb, offline_wandb, read_stores

from onelook.callbacks.trackers.registry import trackers_for
from onelook.settings.build import build_settings
from onelook.settings.train import TrainSettings


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B as for a user who has said offline."""
    offline_wandb(tmp_path, monkeypatch)
    yield
    forget_wandb()


@covers("train", "entity", "upload_dataset", "artifact_alias")
def test_a_dataset_is_kept_for_whom_and_under_the_alias_that_was_asked_for(options: Options) -> None:
    asked = {"entity": "zoo", "upload_dataset": "val", "artifact_alias": "v7", "bbox_interval": 0}
    (store,) = read_stores(fit(options, track="wandb", **asked).result.run_folder)
    data, model = store.artifacts
    assert store.run.entity == data.entity == model.entity == "zoo"
    assert (data.type, set(data.aliases)) == ("dataset", {"v7", "latest"})
    folders = {str(Path(entry.path).parent) for entry in data.manifest.contents}
    assert folders == {"images/val", "labels/val", "."}
    assert (model.type, set(model.aliases)) == ("model", {"best", "latest"})


@covers("train", "bbox_interval")
@pytest.mark.parametrize(
    ("interval", "epochs"), [(-1, [0, 1, 2]), (2, [1, 2]), pytest.param(0, [], marks=pytest.mark.slow)]
)
def test_boxes_come_at_the_interval_and_at_the_end(options: Options, interval: int, epochs: list[int]) -> None:
    (store,) = read_stores(fit(options, track="wandb", epochs=3, bbox_interval=interval).result.run_folder)
    assert store.boxed_epochs() == epochs


def test_a_command_sends_the_whole_dataset_unless_told_what(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(home.train("--track", "wandb", "--upload_dataset", "--bbox_interval", 0), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    (store,) = read_stores(Path("runs/train/exp"))
    assert store.run.project == "onelook" and store.run.entity == ""
    assert list(store.artifacts[0].aliases) == ["latest"]
    assert {"images/train", "images/val"} <= {
        str(Path(entry.path).parent) for entry in store.artifacts[0].manifest.contents
    }


@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ({"entity": "zoo"}, "setting `entity` has no effect without `track`: wandb, comet"),
        ({"upload_dataset": "all", "track": "comet"}, "setting `upload_dataset` has no effect without `track`: wandb"),
        (
            {"bbox_interval": 3, "track": "mlflow"},
            "`bbox_interval` has no effect without `track`: wandb, clearml, comet",
        ),
        ({"entity": "zoo", "track": "mlflow,comet"}, ""),
        ({"track": "tensorboard"}, ""),
    ],
)
def test_an_option_that_no_tracker_takes_is_named(
    given: Options, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    trackers_for(build_settings(TrainSettings, given))
    assert (warning in caplog.text) if warning else not caplog.records
