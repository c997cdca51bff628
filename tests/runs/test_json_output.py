"""`--json`: of every command, standard output is one JSON document, the error included; all other text is elsewhere."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from command_runs import Home, run, texts

from onelook.cli.commands import COMMANDS
from onelook.cli.main import main

Words = Callable[[Home], list[str]]

EVOLVE = ("--evolve", 1, "--epochs", 1, "--batch-size", 8, "--imgsz", 64, "--workers", 0, "--device", "cpu")
# command -> a line that it does its work on, and keys of the document
LINES: dict[str, tuple[Words, str]] = {
    "train": (lambda home: home.train(), "run_folder best last names reason epochs_done best_epoch seconds metrics"),
    "val": (lambda home: home.val(), "run_folder metrics"),
    "detect": (lambda home: home.detect("--conf-thres", 0.001), "run_folder frames num_frames names problems"),
    "export": (lambda home: texts("export", "--weights", home.weights, "--format", "torchscript", "--imgsz", 64,
                                  "--output", home.work / "made.torchscript"), "exports names"),
    "benchmark": (lambda home: texts("benchmark", "--weights", home.weights, "--format", "torchscript", "--imgsz", 64,
                                     "--rounds", 1), "rows run_folder"),
    "report": (lambda home: texts("report", home.weights.parents[1], "--out", home.work / "page.html"), "report"),
    "evolve": (lambda home: texts("evolve", "--data", home.yaml, "--cfg", home.model, "--noautoanchor", *EVOLVE),
               "best rows run_folder hyp weights command start"),
    "models": (lambda home: texts("models", "yolov5n"), "models"),
    "anchors": (lambda home: texts("anchors", home.yaml, "--cfg", home.model, "--imgsz", 64),
                "model strides labels current found image"),
    "check": (lambda home: texts("check", home.yaml), "verdict counts faults splits findings"),
    "info": (lambda home: texts("info", home.weights), "path num_bytes sha256 names settings summary"),
    "env": (lambda home: ["env"], "onelook torch problems"),
    "convert": (lambda home: texts("convert", home.weights, "--half", "--out", home.work / "half.safetensors"),
                "path num_tensors names"),
    "convert-data": (lambda home: texts("convert-data", home.yaml, "--to", "coco", "--out", home.work / "coco"),
                     "data splits losses"),
    "download": (lambda home: ["download"], "datasets weights"),
    "split": (lambda home: texts("split", home.yaml, "--output", home.work / "parts"), "data images class_labels"),
    "autosplit": (lambda home: texts("autosplit", home.data / "images", "--output", home.work), "lists images"),
}  # fmt: skip


def document_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and document of a command; standard output holds nothing else."""
    outcome = run([*words, "--json"], capsys)
    document = json.loads(outcome.out)
    assert outcome.code == document["exit_code"], outcome.err
    return outcome.code, document


@pytest.mark.parametrize("command", LINES)
def test_the_result_of_every_command_is_one_document(
    command: str, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    words, keys = LINES[command]
    code, document = document_of(words(home), capsys)
    assert code == 0 and set(keys.split()) <= set(document)


def test_the_table_has_every_command() -> None:
    assert set(COMMANDS) - set(LINES) == {"serve"}, "which has a test of its own"


def test_a_service_that_ends_gives_its_counts(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    def stop_once_it_answers() -> None:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except OSError:
                time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_once_it_answers, daemon=True).start()
    code, document = document_of(texts("serve", "--weights", home.weights, "--imgsz", 64, "--port", port), capsys)
    assert code == 0 and {"answered": 0, "refused": 0, "failed": 0, "left": 0}.items() <= document.items()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_is_a_document_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run([command, "--no-such-option-as-this", "--json"], capsys)
    document = json.loads(outcome.out)
    assert outcome.code == document["exit_code"] == 2
    assert document["error"].startswith(f"onelook {command}: ")
    assert outcome.err == f"error: {document['error']}\nhint: {document['hint']}\n"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--json"], 0, {"help"}),
        (["--json", "--version"], 0, {"version"}),
        (["models", "--help", "--json"], 0, {"help"}),
        (["modles", "--json"], 2, {"error", "hint"}),
        (["predict", "--json"], 2, {"error", "hint"}),
        (["train", "--jso"], 2, {"error", "hint"}),
    ],
)
def test_every_line_with_json_gives_a_document(
    words: list[str], code: int, says: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if "--json" not in words:  # no abbreviation: what is read before the line is understood has one spelling
        assert main(words) == code and "`--json`" in capsys.readouterr().err
        return
    outcome = run(words, capsys)
    assert (outcome.code, set(json.loads(outcome.out))) == (code, {*says, "exit_code"})


def test_a_result_with_a_problem_has_both(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.label().write_text("7 0.5 0.5 0.1 0.1\n")
    code, document = document_of(texts("check", home.yaml, "--strict"), capsys)
    assert code == 65 and document["counts"]["error"] and document["error"] and document["hint"]
    (home.data / "images" / "test" / "broken.jpg").write_bytes(b"no image")
    code, document = document_of(home.detect(), capsys)
    assert code == 65 and document["num_frames"] == 4 and "broken.jpg" in document["error"]


def test_what_processes_print_is_not_on_standard_output(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    home.file(
        "loud.py",
        "import os\nfrom onelook import Callback\n\n\nclass Loud(Callback):\n"
        "    def on_fit_start(self, event):\n        os.system('echo noise of a process')\n",
    )
    outcome = run([*home.train("--callbacks", "loud.py"), "--json"], capfd)
    assert json.loads(outcome.out)["epochs_done"] == 1
    assert "noise of a process\n" in outcome.err
