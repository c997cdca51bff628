"""Every setting of the trackers does what its text says; each test fails if the setting is ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_runs import Case, Home, refuse, run
from option_runs import Options, covers, fit


def event_files(run_folder: Path) -> list[Path]:
    return sorted(run_folder.glob("events.out.tfevents.*"))


@covers("train", "track")
def test_only_trackers_that_were_named_follow_a_run(options: Options) -> None:
    assert not event_files(fit(options).result.run_folder)
    assert len(event_files(fit(options, track="tensorboard").result.run_folder)) == 1


@covers("train", "track")
def test_a_resumed_run_is_tracked_by_what_this_command_names_alone(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run folder may come from elsewhere: it does not choose packages to import and hosts to connect to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())  # a database takes seconds to make
    folder = fit(options, track="mlflow,tensorboard").result.run_folder
    for epochs, changes, num_files in [(2, {}, 1), (3, {"track": "none"}, 1), (4, {"track": ["tensorboard"]}, 2)]:
        fit({"resume": str(folder), "epochs": epochs, **changes})
        assert len(event_files(folder)) == num_files
    assert "the run was tracked by mlflow and no longer is: `--track mlflow` resumes that, too" in caplog.text


@covers("train", "track")
@pytest.mark.parametrize("words", [("tensorboard,none",), ("none", "tensorboard")])
def test_a_command_takes_trackers_with_commas_or_spaces(
    home: Home, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    outcome = run(home.train("--track", *words, "--seed", 1), capsys)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(event_files(Path("runs/train/exp"))) == 1


def test_a_misspelt_tracker_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    def words(home: Home) -> list[str]:
        return home.train("--track", "tensorbord")

    refuse(Case("misspelt", words, 64, ("`track`", "`tensorbord`"), "did you mean `tensorboard`?"), home, capsys)
