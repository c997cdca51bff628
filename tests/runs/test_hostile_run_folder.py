"""A run folder from a stranger chooses no code, package, program, host or place when it is resumed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import fork

from onelook.errors import OnelookError
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.recipes.evolve import evolve
from onelook.recipes.folds import train_folds
from onelook.recipes.split_dataset import split_dataset
from onelook.recipes.train import train
from onelook.runs.checkpoint import load_checkpoint, save_checkpoint
from onelook.settings.train import TRACKER_NAMES

REACHING_OUT = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "urllib.")
TALKATIVE = {"wandb", "mlflow", "clearml", "comet_ml", "tensorboard", "fsspec", "s3fs", "psycopg2", "sqlalchemy.engine"}
JOBS: dict[str, Callable[[dict[str, Any]], object]] = {"train": train, "folds": train_folds, "search": evolve}


def do_watched(name: str, given: dict[str, Any], answer: Path) -> None:
    """Do a job, and note all that Python reports: sockets, programs, and packages that talk to others."""
    seen = [f"{package} was here" for package in TALKATIVE & sys.modules.keys()]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(REACHING_OUT):
            seen.append(event)
        elif event == "import" and arguments[0] in TALKATIVE:
            seen.append(f"import {arguments[0]}")

    sys.addaudithook(watch)
    problem = ""
    try:
        JOBS[name](given)
    except OnelookError as raised:
        problem = f"{type(raised).__name__}: {raised}"
    answer.write_text(json.dumps({"seen": seen, "problem": problem}))


@pytest.fixture
def tiny_settings(tiny_settings: dict[str, object]) -> dict[str, object]:
    """Those of all tests, with a report: it reads the run folder, too."""
    return {**tiny_settings, "noreport": False}


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, Any]:
    """Settings that reach out of a run folder in every way there is."""
    evil = tmp_path / "evil.py"
    evil.write_text(
        f"from onelook import Callback\nopen({str(tmp_path / 'owned')!r}, 'w')\nclass Evil(Callback): pass\n"
    )
    return {
        "track": list(TRACKER_NAMES),
        "entity": "mallory",
        "upload_dataset": "all",
        "artifact_alias": "production",
        "callbacks": [str(evil)],
        "project": str(tmp_path / "elsewhere"),
        "name": "taken",
        "exist_ok": True,
        "resume": str(tmp_path / "another"),
        "local_rank": 0,
    }


def resumed(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own has done while it resumed."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        child = fork(do_watched, name, given, answer)
        child.join()
        assert child.exitcode == 0
        return dict(json.loads(answer.read_text()))


def forge(checkpoint: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the document of a checkpoint, and sign it again: a digest keeps no forger out."""
    found = load_checkpoint(checkpoint)
    document = {key: value for key, value in found.document.items() if key not in ("sha256", "format", "version")}
    change(document)
    save_checkpoint(checkpoint, found.tensors, document)


def test_a_forged_run_is_resumed_without_sockets_programs_and_foreign_packages(
    tiny_settings: dict[str, object], hostile: dict[str, Any], tmp_path: Path
) -> None:
    run = train(tiny_settings).run_folder
    forge(run / "weights" / "last.safetensors", lambda document: document["settings"].update(hostile))
    for tracker in TRACKER_NAMES:
        (run / f"{tracker}_id").write_text("mallory")
    before = {path.name for path in tmp_path.iterdir()}
    assert resumed("train", {"resume": str(run), "epochs": 5}) == {"seen": [], "problem": ""}
    assert {path.name for path in tmp_path.iterdir()} == before, "nothing is written elsewhere, no callback has run"
    assert len((run / "results.csv").read_text().splitlines()) == 1 + 5
    settings = load_yaml(run / "settings.yaml")
    assert not settings.keys() & hostile.keys()


def test_a_forged_run_does_not_choose_how_many_processes_start(tiny_settings: dict[str, object]) -> None:
    run = train(tiny_settings).run_folder
    forge(run / "weights" / "last.safetensors", lambda document: document["settings"].update(nproc=100_000))
    answer = resumed("train", {"resume": str(run), "epochs": 5})
    assert answer["seen"] == [] and "say how many to start: `--nproc " in answer["problem"]


@pytest.mark.parametrize("method", ["genetic", pytest.param("optuna", marks=pytest.mark.slow)])
def test_a_forged_search_is_resumed_without_sockets_programs_and_foreign_packages(
    method: str, tiny_settings: dict[str, object], hostile: dict[str, Any], tmp_path: Path
) -> None:
    given = {**tiny_settings, "epochs": 1, "evolve": 1, "evolve_method": method, "noautoanchor": True}
    folder = evolve(given).run_folder
    hosts = {"bucket": "s3://mallory"}
    if method == "optuna":
        hosts["evolve_storage"] = "postgresql://mallory@192.0.2.1/search"
    settings = load_yaml(folder / "settings.yaml") | hostile | hosts
    (folder / "settings.yaml").write_text(dump_yaml({**settings, "name": "exp"}))
    before = {path.name for path in tmp_path.iterdir()}
    assert resumed("search", {"resume_evolve": str(folder), "evolve": 2}) == {"seen": [], "problem": ""}
    assert {path.name for path in tmp_path.iterdir()} == before


def test_forged_folds_are_resumed_without_sockets_programs_and_foreign_packages(
    tiny_settings: dict[str, object], hostile: dict[str, Any], tmp_path: Path
) -> None:
    split_dataset({"data": tiny_settings["data"], "folds": 2, "output": tmp_path / "folds", "near": -1})
    given = {name: value for name, value in tiny_settings.items() if name != "data"}
    folder = train_folds({**given, "epochs": 1, "folds": tmp_path / "folds"}).run_folder
    beginning = load_yaml(folder / "folds.yaml")
    beginning["settings"] |= hostile
    (folder / "folds.yaml").write_text(dump_yaml(beginning))
    (folder / "fold2" / "status.json").unlink()
    before = {path.name for path in tmp_path.iterdir()}
    assert resumed("folds", {"resume": str(folder)}) == {"seen": [], "problem": ""}
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("track", "[wandb]"),
        ("upload_dataset", "all"),
        ("callbacks", "[evil.py]"),
        ("entity", "mallory"),
        ("artifact_alias", "production"),
    ],
)
def test_a_settings_file_does_not_reach_outside_either(
    name: str, value: str, tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    from onelook.errors import SettingsError

    (file := tmp_path / "mallory.yaml").write_text(f"{name}: {value}\n")
    with pytest.raises(SettingsError, match=f"setting `{name}` in file .* line 1 names code to run, or a service"):
        train(tiny_settings, file=file)
