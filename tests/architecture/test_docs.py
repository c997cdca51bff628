"""The documents say what is: their Python runs, their commands parse, their links, options and numbers are right."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from documents import ROOT, Page, pages
from yolov5_files import stripped

import onelook
from onelook.cli.arguments import ARGUMENTS
from onelook.cli.command_result import JSON_OPTION
from onelook.cli.commands import COMMANDS
from onelook.models.catalog import MODELS
from onelook.recipes.split_dataset import split_dataset
from onelook.settings.anchors import AnchorSettings
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.build import build_settings
from onelook.settings.check import CheckSettings
from onelook.settings.command_line import typed_options
from onelook.settings.convert_data import ConvertDataSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.download import DownloadSettings
from onelook.settings.evolve import EvolveSettings
from onelook.settings.export import ExportSettings
from onelook.settings.folds import FoldsSettings
from onelook.settings.info import InfoSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings
from onelook.training.weights import load_detector

PAGES = pages()
KINDS = {
    "train": TrainSettings,
    "val": ValidateSettings,
    "detect": DetectSettings,
    "evolve": EvolveSettings,
    "export": ExportSettings,
    "benchmark": BenchmarkSettings,
    "anchors": AnchorSettings,
    "serve": ServeSettings,
    "info": InfoSettings,
    "convert-data": ConvertDataSettings,
    "check": CheckSettings,
    "split": SplitSettings,
    "download": DownloadSettings,
}
EXPERIMENT = "runs/train/exp"
SEARCH = "runs/evolve/exp"


def reference_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "scripts" / "write_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    ARGUMENTS[command](parser)
    parser.add_argument(JSON_OPTION, action="store_true")
    return parser


@cache
def all_options() -> set[str]:
    """Those of all commands."""
    return {"--help-all", *(option for command in COMMANDS for option in parser_of(command)._option_string_actions)}


@pytest.fixture(scope="session")
def finished_run(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the documents assume it: `bees.yaml`, `bees-folds`, `hive.jpg`, `photos`, a run, `yolov5s.pt`."""
    folder = tmp_path_factory.mktemp("bees")
    shutil.copytree(tiny_data.parent, folder / "bees")
    text = tiny_data.read_text(encoding="utf-8").replace("path: .", "path: bees")
    (folder / "bees.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(folder / "bees" / "images" / "test", folder / "photos")
    shutil.copy(next((folder / "photos").iterdir()), folder / "hive.jpg")
    shutil.copytree(ROOT / "examples" / "callbacks", folder / "examples" / "callbacks")
    (folder / "bees-training.yaml").write_text("imgsz: 320\n", encoding="utf-8")
    (folder / "my-hyp.yaml").write_text("lr0: 0.02\n", encoding="utf-8")
    (folder / SEARCH).mkdir(parents=True)
    (folder / SEARCH / "hyp_evolve.yaml").write_text("lr0: 0.02\n", encoding="utf-8")
    (folder / "my-transforms.yaml").write_text("transforms: [{name: Blur}]\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONELOOK_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        split_dataset({"data": "bees.yaml", "output": "bees-folds", "folds": 2, "near": -1})
        quiet: dict[str, Any] = {"workers": 0, "device": "cpu", "noplots": True, "noautoanchor": True, "batch_size": 8}
        run = onelook.train("bees.yaml", callbacks=[], cfg=tiny_model, epochs=2, imgsz=64, **quiet)
    assert run.run_folder == Path(EXPERIMENT)
    (folder / "yolov5s.pt").write_bytes(stripped(load_detector(folder / run.best)))
    return folder


@pytest.fixture
def reader(
    finished_run: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """In a copy of that folder, where `onelook.train` checks its settings and then trains a tiny model instead."""
    folder = tmp_path / "reader"
    shutil.copytree(finished_run, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ONELOOK_CACHE", str(folder / "cache"))
    in_full = onelook.train
    quick = {"workers": 0, "device": "cpu", "noplots": True, "noautoanchor": True, "epochs": 1, "imgsz": 64}

    def train_quickly(data: Any = None, *, callbacks: Any = (), **given: Any) -> Any:
        if "resume" in given:
            return in_full(data, callbacks=callbacks, **{**given, "epochs": 3})
        build_settings(TrainSettings, {"data": data, **given})
        return in_full(data, callbacks=callbacks, **{**given, **quick, "cfg": tiny_model, "noreport": True})

    search = onelook.evolve

    def evolve_quickly(data: Any = None, **given: Any) -> Any:
        build_settings(EvolveSettings, {"data": data, **given})
        return search(data, **{**given, **quick, "cfg": tiny_model, "evolve": 2})

    train_on_all = onelook.train_folds

    def train_folds_quickly(folds: Any, **given: Any) -> Any:
        build_settings(FoldsSettings, {"folds": folds, **given})
        return train_on_all(folds, callbacks=[], **{**given, **quick, "cfg": tiny_model})

    monkeypatch.setattr(onelook, "train", train_quickly)
    monkeypatch.setattr(onelook, "train_folds", train_folds_quickly)
    monkeypatch.setattr(onelook, "evolve", evolve_quickly)
    yield monkeypatch


# `test_plain_runtime.py` runs the long program of export.md, and `test_options_export.py` does what the short one does.
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.name == "export.md" else ())
        for page in PAGES
        if page.blocks("python")
    ],
    ids=str,
)
def test_python_blocks_run(page: Page, reader: pytest.MonkeyPatch) -> None:
    for block in page.blocks("python"):
        exec(compile(block, str(page), "exec"), {"__name__": "a_reader"})


@pytest.mark.parametrize("page", [page for page in PAGES if page.blocks("sh")], ids=str)
def test_shell_blocks_give_commands_that_exist(page: Page, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_run)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in page.shell_lines():
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0] == "onelook":
            assert words[1] in COMMANDS, line
            arguments = parser_of(words[1]).parse_args(words[2:])
            if words[1] in KINDS:
                build_settings(KINDS[words[1]], typed_options(arguments, KINDS[words[1]]))
        else:
            assert words[0].startswith(".venv/bin/"), f"{page}: `{line}` is a command that no test knows"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_options_in_the_text_exist(page: Page) -> None:
    known = all_options()
    foreign = page.first_cells() if page.name == "coming-from-yolov5.md" else set()
    for code in page.inline_code() - foreign:
        for option in re.findall(r"(?:^| )(--[a-z0-9_-]+)", code):
            assert option in known, f"{page}: `{code}`"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_and_paths_lead_somewhere(page: Page) -> None:
    for target in page.links():
        name, _, anchor = target.partition("#")
        other = (page.path.parent / name).resolve() if name else page.path
        assert other.exists(), f"{page}: link to `{target}`"
        assert not anchor or anchor in Page(other).anchors(), f"{page}: link to `{target}`"
    for code in page.inline_code():
        if re.fullmatch(r"(src|tests|docs|scripts|examples|benchmarks)/[\w./-]*", code):
            assert (ROOT / code).exists(), f"{page}: `{code}`"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_path_of_anybodys_machine(page: Page) -> None:
    assert not re.findall(r"(?<![\w.~-])/(?:work|home|root|mnt|tmp|usr|opt|Users)/\S*|[A-Z]:\\\S+", page.text)


def test_readme_has_a_line_for_each_folder_of_the_source() -> None:
    tree = Page(ROOT / "README.md").blocks("")[-1]
    folders = {path.parent.name for path in (ROOT / "src" / "onelook").glob("*/__init__.py")}
    assert set(re.findall(r"^(\w+)/ +\S", tree, re.MULTILINE)) == folders


def test_every_page_can_be_reached_from_the_index() -> None:
    index = Page(ROOT / "docs" / "README.md")
    reached = {(index.path.parent / target.partition("#")[0]).resolve() for target in index.links()}
    missing = {page.path for page in PAGES if page.path.is_relative_to(index.path.parent)} - reached - {index.path}
    assert not missing, f"docs/README.md has no link to {sorted(missing)}"


def test_reference_pages_are_up_to_date() -> None:
    for name, text in reference_script().quick_pages().items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is out of date: run scripts/write_reference.py"


def test_page_of_models_has_a_true_line_for_each() -> None:
    lines = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(MODELS)
    script = reference_script()
    for name in ("yolov5n", "yolov3-tiny"):
        assert script.model_row(name) in rows, "docs/reference/models.md is out of date: run scripts/write_reference.py"


@pytest.mark.slow
def test_page_of_models_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    assert written == reference_script().models_page()


@pytest.mark.slow
def test_demo_ends_with_a_line_that_says_where_everything_is(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--epochs", "1", "--project", str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    run = tmp_path / "demo"
    assert re.fullmatch(rf"\d+ cells in 60 images; see {re.escape(str(run / 'found'))}/\S+\.jpg", lines[-2])
    assert lines[-1] == f"the report of the run: {run / 'report.html'}" and (run / "report.html").is_file()
    assert any(line.startswith("Platelets") for line in lines)
    assert len(list((run / "found").glob("*.jpg"))) == 60
    assert (run / "weights" / "best.safetensors").is_file()
