"""Good files with something changed by chance: a clear refusal or a detector, nothing else; the same bits or none."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from zips import Part, archive

from onelook.errors import CheckpointError
from onelook.interop.detector_weights import Weights
from onelook.interop.yolov5_weights import read_yolov5

NUM_MUTATIONS = 250
MOST_BYTES = 24 << 20


def read(path: Path, data: bytes) -> Weights | None:
    path.write_bytes(data)
    try:
        return read_yolov5(path)
    except CheckpointError as problem:
        assert problem.message.isprintable() and len(problem.message) < 1000, problem.message
        return None


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changes: bits, bytes, runs of zeros, pieces left out, doubled or moved, the end cut off."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        place, length = int(rng.integers(len(changed))), int(rng.integers(1, 40))
        kind = int(rng.integers(7))
        if kind == 0:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[place] = int(rng.integers(256))
        elif kind == 2:
            changed[place : place + length] = bytes(len(changed[place : place + length]))
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[place : place + length]
        elif kind == 5:
            other = int(rng.integers(len(changed)))
            changed[other : other + length] = changed[place : place + length]
        else:
            del changed[max(place, 1) :]
    return bytes(changed)


def test_a_changed_file_is_refused_or_gives_the_same_detector(smallest_file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "changed.pt"
    original = read(path, smallest_file)
    assert original is not None
    rng = np.random.default_rng(0)
    survivors = 0
    for _ in range(NUM_MUTATIONS):
        weights = read(path, mutated(smallest_file, rng))
        if weights is not None:
            survivors += 1
            assert weights.definition == original.definition and weights.names == original.names
            assert all(torch.equal(weights.tensors[name], tensor) for name, tensor in original.tensors.items())
    assert survivors < NUM_MUTATIONS / 10, "dates of members, and storages that nobody reads, may change"


def test_a_changed_pickle_in_a_whole_archive_cannot_crash_the_reader(
    smallest_file: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "changed.pt"
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(io.BytesIO(smallest_file)) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    rng = np.random.default_rng(1)
    outcomes = {True: 0, False: 0}
    for _ in range(NUM_MUTATIONS):
        parts = {**members, pickled: mutated(members[pickled], rng)}
        outcomes[read(path, archive(Part(*part) for part in parts.items())) is None] += 1
    assert outcomes[True] > NUM_MUTATIONS / 2 and outcomes[False] > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["changed.pt"]


def test_changed_pickles_fill_no_memory(smallest_file: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    read(tmp_path / "changed.pt", smallest_file)
    tracemalloc.start()
    try:
        for _ in range(40):
            read(tmp_path / "changed.pt", mutated(smallest_file, rng))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
