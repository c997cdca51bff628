"""A dataset and a model so small that a whole training run takes a fraction of a second."""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import Browser, find_browser
from hypothesis import HealthCheck, settings
from small_models import BODY

# Compiled once, whatever the shell says, and not by every process and worker again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
settings.register_profile(  # nor does a machine that is busy change what a test finds
    "same in every run",
    derandomize=True,
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("same in every run")
# Before torch is imported, here and in what tests start: two test processes share two processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TABLE = f"""\
# Three maps, a handful of channels.
{BODY}anchors:
  - [6, 6, 10, 10, 14, 14]
  - [18, 18, 24, 24, 30, 20]
  - [20, 40, 40, 40, 60, 50]
head:
  - [[3, 4, 5], 1, Detect, [nc, anchors]]
"""
# Tests that share what takes seconds to import, which one of several processes does if they follow each other.
EXPORTING = ("tests/exports/", "tests/interop/test_yolox_weights.py", "tests/runs/test_options_export.py")
COMPILING = ("tests/runs/test_options_passes.py", "tests/training/test_network_passes.py")
TRACKING = ("tests/callbacks/test_tracker", "tests/runs/test_options_trackers.py", "tests/runs/test_options_wandb.py")
SIZE = 96
NAMES = ("square", "disc")


def write_images(folder: Path, split: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (folder / "images" / split).mkdir(parents=True)
    (folder / "labels" / split).mkdir(parents=True)
    for number in range(count):
        image = rng.integers(0, 60, (SIZE, SIZE, 3), dtype=np.uint8)
        rows = []
        for _ in range(int(rng.integers(1, 4))):
            kind, half = int(rng.integers(2)), int(rng.integers(8, 18))
            x, y = (int(rng.integers(half, SIZE - half)) for _ in range(2))
            if kind == 0:
                cv2.rectangle(image, (x - half, y - half), (x + half, y + half), (40, 220, 40), -1)
            else:
                cv2.circle(image, (x, y), half, (220, 40, 40), -1)
            rows.append(f"{kind} {x / SIZE:.6f} {y / SIZE:.6f} {2 * half / SIZE:.6f} {2 * half / SIZE:.6f}")
        cv2.imwrite(str(folder / "images" / split / f"{number:03}.jpg"), image)
        (folder / "labels" / split / f"{number:03}.txt").write_text("\n".join(rows) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay until the end: the garbage collector need not scan them again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share an import come first; those of pages last, so that the browser does not wait for others."""

    def place(item: pytest.Item) -> tuple[bool, ...]:
        groups = (EXPORTING, COMPILING, TRACKING)
        return "browser" in item.fixturenames, *(not item.nodeid.startswith(group) for group in groups)

    items.sort(key=place)


def pytest_sessionfinish() -> None:
    """Nor at the end, where pytest collects garbage five times."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def a_disk_that_is_not_waited_for() -> Iterator[None]:
    """Flushing is for power failures, which no test has; a short run flushes fifty times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def a_priority_that_stays() -> Iterator[None]:
    """A process that has followed a run, politely, has other tests to do after it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "nice", lambda step: 0, raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def operators_of_onnx_that_are_read_once() -> Iterator[None]:
    """For every file, torch parses the source of 500 functions that do not change: half of the time of an export."""
    import torch.onnx

    write = torch.onnx.export

    def export(*given: Any, **named: Any) -> Any:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        if not hasattr(ONNXRegistry.from_torchlib, "cache_info"):
            read_once = functools.cache(ONNXRegistry.from_torchlib)
            patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(read_once))
        return write(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", export)
        yield


@pytest.fixture(autouse=True, scope="session")
def loggers_that_pass_on_what_they_are_told(operators_of_onnx_that_are_read_once: None) -> None:
    """To each that does not, pytest gives its handlers six times a test: torch has forty of them."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("torch") and isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.fixture(autouse=True)
def logging_from_the_start() -> None:
    """No test finds the messages of the package switched off by one before it."""
    if logging.root.manager.disable:
        logging.disable(logging.NOTSET)
    package = logging.getLogger("onelook")
    package.handlers.clear()
    package.propagate = True
    if package.level:  # to set it clears the caches of all loggers
        package.setLevel(logging.NOTSET)
    for name, child in logging.root.manager.loggerDict.items():
        if name.startswith("onelook") and isinstance(child, logging.Logger):
            child.disabled = False


@pytest.fixture(autouse=True, scope="session")
def cache_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is left behind; for the whole session, since runs that tests share are made before any test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONELOOK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares and discs: 20 images to train on, 6 to validate on, 4 to test on; the path of the YAML."""
    folder = tmp_path_factory.mktemp("shapes")
    for seed, (split, count) in enumerate({"train": 20, "val": 6, "test": 4}.items()):
        write_images(folder, split, count, seed)
    yaml = folder / "data.yaml"
    yaml.write_text("path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnames: [square, disc]\n")
    return yaml


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a model with three maps."""
    path = tmp_path_factory.mktemp("model") / "tiny.yaml"
    path.write_text(TABLE)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser for tests of pages, which come last: one that waits takes processor time too."""
    running = Browser(find_browser())
    yield running
    running.close()
