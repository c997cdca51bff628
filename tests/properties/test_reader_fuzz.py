"""Whatever stands in a file of a dataset: a reader gives rows and reasons that add up, or an error of ours, at once.

The default is 300 inputs for each reader; `-m slow` runs a million, and
`python tests/properties/test_reader_fuzz.py coco 1000000` one reader with its figures.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from reader_inputs import GRAMMARS, make_input

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec
from onelook.data.formats import coco_file
from onelook.data.formats.annotated import annotated_rows
from onelook.data.formats.coco import open_coco
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.labelme_file import parse_labelme
from onelook.data.formats.listing import rows_of
from onelook.data.formats.listing_file import LISTINGS, listed_paths
from onelook.data.formats.visdrone_file import classes_of, parse_visdrone
from onelook.data.formats.voc_file import parse_voc
from onelook.data.formats.yolo import parse_labels
from onelook.data.image_files import images_by_stem, images_in_list
from onelook.errors import DataError
from onelook.files.json_stream import parse_lists

FEW, MANY = 300, 1_000_000
MOST_SECONDS = 0.5
MOST_MIB = 200
IMAGE = (16, 20)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk takes milliseconds for every file
CLASSES = {"cat": 0, "dog": 1}


def check_rows(rows: LabelRows) -> int:
    """The sums of a reader's account; the number of rows read."""
    left_out = sum(problem.outcome not in ("clipped", "note") for problem in rows.problems)
    assert rows.rows_read == len(rows) + left_out
    assert len(rows.class_ids) == len(rows.boxes) == len(rows.polygon_lengths)
    assert int(rows.polygon_lengths.sum()) == len(rows.polygon_points)
    assert (rows.boxes[:, 2:] > 0).all() and (abs(rows.boxes - 0.5) <= 0.51).all()
    assert all(problem.reason.isprintable() and problem.value.isprintable() for problem in rows.problems)
    assert all(len(problem.reason) < 400 for problem in rows.problems)
    return rows.rows_read


def read_labels(data: bytes, folder: Path) -> None:
    check_rows(parse_labels(data, 3))


def read_voc(data: bytes, folder: Path) -> None:
    for size_hw in (IMAGE, (0, 0)):
        check_rows(annotated_rows(data, size_hw, CLASSES, parse_voc))


def read_visdrone(data: bytes, folder: Path) -> None:
    for size_hw in (IMAGE, (0, 0)):
        for single_cls in (False, True):
            parse = partial(parse_visdrone, num_classes=10, single_cls=single_cls)
            check_rows(annotated_rows(data, size_hw, None if single_cls else classes_of(10), parse))


def read_list(data: bytes, folder: Path) -> None:
    path = folder / "list.txt"
    path.write_bytes(data)
    for name in [*images_in_list(path, folder), *images_by_stem(path, folder)]:
        assert "\n" not in name and "\0" not in name


def read_yaml(data: bytes, folder: Path) -> None:
    path = folder / "data.yaml"
    path.write_bytes(data)
    spec = load_dataset_spec(path)
    assert spec.names and {"train", "val"} <= set(spec.splits)


def check_json(data: bytes) -> None:
    """A large file is parsed in pieces; that gives what parsing it in one gives."""
    pieces = (data[start : start + 37] for start in range(0, len(data), 37))
    results = []
    for parse in (lambda: json.loads(data.decode("utf-8-sig")), lambda: parse_lists(pieces, json.JSONDecoder())):
        try:
            results.append(json.dumps(parse()))
        except ValueError:
            results.append("no JSON")
    assert results[0] == results[1]


def read_coco(data: bytes, folder: Path) -> None:
    check_json(data)
    path = folder / "instances.json"
    path.write_bytes(data)
    coco_file._remembered.cache_clear()  # the same size and time mean the same file, but not here
    spec = DatasetSpec(path, folder, {"train": (folder,)}, ("cat", "dog"), format="coco", annotations={"train": path})
    source = open_coco(spec, "train", False)
    read = sum(map(check_rows, source.read(range(len(source.images)), [IMAGE] * len(source.images))))
    assert read + len(source.lost_rows()) == len(json.loads(data.decode("utf-8-sig"))["annotations"])


def read_labelme_file(data: bytes, folder: Path) -> None:
    for size_hw in (IMAGE, (0, 0)):
        check_rows(annotated_rows(data, size_hw, CLASSES, parse_labelme))


def listing_reader(label_format: str) -> Callable[[bytes, Path], None]:
    """Reads a file that lists images: each object is used, or told, once."""

    def read(data: bytes, folder: Path) -> None:
        path = folder / "list"
        path.write_bytes(data)
        listing = LISTINGS[label_format](path)
        listed_paths(str(folder), listing, label_format)
        count = 0
        for image in listing.images:
            for size_hw in (IMAGE, (0, 0)):
                count = check_rows(rows_of([image], size_hw, CLASSES))
                assert count == len(image.objects)
        assert all(problem.reason.isprintable() and problem.value.isprintable() for problem in listing.lost)

    return read


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "labels": read_labels, "list": read_list, "yaml": read_yaml, "coco": read_coco, "voc": read_voc,
    "visdrone": read_visdrone, "labelme": read_labelme_file,
    **{name: listing_reader(name) for name in LISTINGS},
}  # fmt: skip


def fuzz(kind: str, count: int, folder: Path) -> tuple[int, float, float]:
    """Read inputs 0 to `count`: how many were refused as a whole, the longest time in s, the memory gained in MiB."""
    read = READERS[kind]
    logging.getLogger("onelook").setLevel(logging.ERROR)
    refused, longest = 0, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        data = make_input(kind, number)
        start = time.process_time()
        try:
            read(data, folder)
        except DataError:
            refused += 1
        except Exception as problem:
            raise AssertionError(f"{kind} input {number}: {data!r}") from problem
        longest = max(longest, time.process_time() - start)
    return refused, longest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_every_grammar_has_its_reader() -> None:
    assert set(READERS) == set(GRAMMARS)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_no_input_is_too_much_for_a_reader(kind: str, count: int) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        refused, longest, gained_mib = fuzz(kind, count, Path(name))
    assert refused < count
    assert longest < MOST_SECONDS
    assert gained_mib < MOST_MIB


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        begin = time.perf_counter()
        refused, longest, gained_mib = fuzz(sys.argv[1], int(sys.argv[2]), Path(name))
        sys.stdout.write(
            f"{sys.argv[1]}: {sys.argv[2]} inputs in {time.perf_counter() - begin:.0f} s, {refused} refused, "
            f"longest {longest * 1e3:.1f} ms, memory +{gained_mib:.0f} MiB\n"
        )
