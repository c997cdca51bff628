"""What a report reads from run folders: whole ones, old ones, damaged ones."""

from __future__ import annotations

import io
import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from plots_examples import make_metrics
from report_runs import make_results

from onelook.callbacks.results_csv import ResultsCsv, columns_of
from onelook.errors import RunFolderError
from onelook.reports.report import report_page
from onelook.reports.run_record import read_run, read_runs
from onelook.structures.metrics import as_arrays

EXAMPLE_BOX = {"box": [1, 2, 3, 4], "class_id": 0, "is_right": True, "score": None}
EXAMPLE = {
    "file": "a.jpg", "size_hw": [10, 10], "jpeg": "AAAA", "right": 1, "missed": 0, "wrong": 0, "labels": [EXAMPLE_BOX],
    "detections": [],
}  # fmt: skip
EXAMPLES = {"format": 1, "confidence": 0.5, "worst": [EXAMPLE], "best": []}
FACTS = {
    "format": 1, "model": "m", "names": ["bee", "wasp"], "splits": {"train": {"images": 1, "labels": [1, 2]}},
    "environments": [{"torch": "2"}], "warnings": ["w"], "reason": "finished",
}  # fmt: skip

LOSSES = ("box", "obj", "cls")


def metrics_npz(**changes: np.ndarray) -> bytes:
    arrays = io.BytesIO()
    np.savez_compressed(arrays, allow_pickle=False, **(as_arrays(make_metrics(2)) | changes))
    return arrays.getvalue()


@cache
def usual_metrics() -> bytes:
    """Made once: to compress them takes longer than the tests."""
    return metrics_npz()


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "settings.yaml").write_text("epochs: 20\nimgsz: 320\n")
    ResultsCsv(path / "results.csv", make_results(20), columns_of(LOSSES))
    head = "epoch,train_seconds,val_seconds,save_seconds,train_images_per_second"
    (path / "speed.csv").write_text(f"{head}\n0,2.0,1.0,0.5,10.0\n1,2.0,1.0,0.5,10.0\n1,2.0,0.0,0.5,20.0\n")
    (path / "status.json").write_text('{"state": "finished", "message": ""}')
    (path / "metrics.npz").write_bytes(usual_metrics())
    classes = [{"name": "bee"}, {"name": "wasp"}]
    (path / "metrics.json").write_text(json.dumps({"classes": classes, "milliseconds_per_image": {"load": 1.0}}))
    (path / "examples.json").write_text(json.dumps(EXAMPLES))
    (path / "run.json").write_text(json.dumps(FACTS))
    return path


def test_a_whole_folder_is_read(tmp_path: Path) -> None:
    run = read_run(make_folder(tmp_path / "exp"))
    assert run.label == "exp" and run.absent == {"labels.json": ""}
    assert len(run.results) == 20 and set(run.results[0]) == set(columns_of(LOSSES))
    assert run.best_epoch == 19
    assert run.settings == {"epochs": 20, "imgsz": 320}
    assert run.facts is not None and run.facts.names == ("bee", "wasp")
    assert run.examples is not None and run.examples.worst[0].labels[0].box == (1, 2, 3, 4)
    assert run.metrics is not None and run.metrics.map50 == make_metrics(2).map50
    assert math.isnan(run.speeds[0].get("memory_mib", math.nan))


def test_names_of_classes_come_from_the_metrics_where_run_json_is_missing(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "exp")
    (folder / "run.json").unlink()
    run = read_run(folder)
    assert [run.name_of(class_id) for class_id in (0, 1, 7)] == ["bee", "wasp", "class 7"]
    (folder / "metrics.json").unlink()
    assert read_run(folder).name_of(1) == "class 1"


def example(**changes: object) -> str:
    return json.dumps(EXAMPLES | {"worst": [EXAMPLE | changes]})


FILES = ("settings.yaml", "status.json", "labels.json", "metrics.npz", "metrics.json", "examples.json", "run.json")
DAMAGES: tuple[tuple[str, bytes | str], ...] = (
    *((name, data) for name in FILES for data in (b"\xff\xfe\x00", b"[]")),
    ("results.csv", b"\xff\xfe\x00"),
    ("speed.csv", b"\xff\xfe\x00"),
    ("settings.yaml", "a: !!python/object/apply:os.system [x]\n"),
    ("settings.yaml", "a: &a [1]\nb: *a\n"),
    ("results.csv", "epoch,x/lr0\n0,much\n"),
    ("results.csv", "a,b\n1,2\n"),
    ("status.json", "[" * 100_000),
    ("labels.json", '{"train": {"format": 99}}'),
    ("labels.json", '{"train": 7}'),
    ("metrics.npz", metrics_npz(class_ap=np.zeros(5))),
    ("metrics.npz", metrics_npz(confusion=np.zeros(3))),
    ("metrics.npz", metrics_npz(confusion_cells=np.array([[0, 3, 1]]))),
    ("metrics.npz", metrics_npz(confusion_cells=np.zeros((2, 3)))),
    ("metrics.npz", metrics_npz(class_ids=np.array(["a", "b"]))),
    ("metrics.npz", metrics_npz()[:-40]),
    ("metrics.json", '{"classes": [{}]}'),
    ("examples.json", example(jpeg='" onload="x')),
    ("examples.json", example(size_hw=[0, 10])),
    ("examples.json", example(labels=[EXAMPLE_BOX | {"box": [1, 2, 3]}])),
    ("examples.json", example(labels=[EXAMPLE_BOX | {"box": [1, 2, 3, math.inf]}])),
    ("examples.json", example(labels=[EXAMPLE_BOX | {"class_id": "bee"}])),
    ("examples.json", json.dumps(EXAMPLES | {"format": 2})),
    ("run.json", json.dumps(FACTS | {"splits": {"train": {"images": 1, "labels": ["many"]}}})),
    ("run.json", json.dumps(FACTS | {"environments": ["torch"]})),
)  # fmt: skip


@pytest.mark.parametrize(("name", "content"), DAMAGES, ids=[f"{name}-{i}" for i, (name, _) in enumerate(DAMAGES)])
def test_a_damaged_file_is_named_and_the_rest_is_used(tmp_path: Path, name: str, content: bytes | str) -> None:
    folder = make_folder(tmp_path / "exp")
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    run = read_run(folder)
    assert run.absent[name]
    assert name == "settings.yaml" or run.settings
    assert report_page([run])


def test_bits_that_a_disk_has_turned_in_the_arrays_are_named_too(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "exp")
    good = (folder / "metrics.npz").read_bytes()
    rng, outcomes = np.random.Generator(np.random.Philox(key=0)), set()
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(len(data), size=3).tolist():
            data[place] ^= 1 << int(rng.integers(8))
        (folder / "metrics.npz").write_bytes(data)
        run = read_run(folder)
        outcomes.add("metrics.npz" in run.absent)
        assert (run.metrics is None) == ("metrics.npz" in run.absent)
    assert True in outcomes


def test_a_file_that_is_no_file_is_absent(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "exp")
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()
    assert read_run(folder).absent["run.json"] == ""


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"not a run folder: it has none of `settings\.yaml`"):
        read_run(tmp_path)
    with pytest.raises(RunFolderError, match="does not exist"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="does not exist"):
        read_run(tmp_path / "file")


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [make_folder(tmp_path / place / "exp") for place in ("a", "b")]
    assert [run.label for run in read_runs(folders)] == ["a/exp", "b/exp"]
    assert [run.label for run in read_runs([folders[0], folders[0]])] == ["exp", "exp (2)"]
    assert [run.label for run in read_runs(folders[:1])] == ["exp"]


def test_parts_of_an_epoch_that_several_processes_did_are_added_up(tmp_path: Path) -> None:
    page = report_page([read_run(make_folder(tmp_path / "exp"))])
    section = page.split('<section id="speed">')[1]
    data = json.loads(section.split('id="speed-0">')[1].split("</script>")[0])
    assert data["lines"][0] == {"x": [0, 1], "y": [2, 4]}
    rates = json.loads(section.split('id="speed-1">')[1].split("</script>")[0])
    assert rates["lines"][0]["y"] == [10, 15]


def test_a_validation_gives_a_report_as_well(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "val")
    for name in ("settings.yaml", "results.csv", "speed.csv", "status.json", "examples.json", "run.json"):
        (folder / name).unlink()
    page = report_page([read_run(folder)])
    assert "<code>results.csv</code> is not in the run folder" in page and "<bdi>wasp</bdi>" in page
