"""Checkpoints: equal content gives equal bytes, any damage is seen, a killed writer leaves a whole file."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import safetensors.torch
import torch

from onelook.errors import CheckpointError
from onelook.files.atomic import TEMPORARY_MARK, remove_orphans
from onelook.runs.checkpoint import TYPES, encode, load_checkpoint, save_checkpoint


def example(size: int = 1000, shift: float = 0.0) -> dict[str, torch.Tensor]:
    return {
        "model/weight": torch.arange(size, dtype=torch.float32) + shift,
        "model/half": torch.ones(3, 5, dtype=torch.float16),
        "model/count": torch.tensor(7),
    }


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    tensors = example()
    save_checkpoint(tmp_path / "a.safetensors", tensors, {"names": ["zelle", "\u7ec6\u80de"], "epoch": 3})
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.document["names"] == ["zelle", "\u7ec6\u80de"]
    assert set(checkpoint.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert checkpoint.tensors[name].dtype == tensor.dtype
        assert torch.equal(checkpoint.tensors[name], tensor)


def test_equal_content_gives_equal_bytes_whatever_the_order_and_layout() -> None:
    image = torch.rand(4, 8, 3, 3)
    first = encode({"a": image, "b": torch.ones(2)}, {"x": 1, "y": [2]})
    second = encode({"b": torch.ones(2), "a": image.to(memory_format=torch.channels_last)}, {"y": [2], "x": 1})
    assert first == second


def test_the_bytes_are_those_of_safetensors_for_every_type_and_shape() -> None:
    shapes = {"scalar": (), "none": (0, 3), "é/many": (2, 5)}
    tensors = {
        f"{kind}/{name}": torch.arange(math.prod(shape)).reshape(shape).to(kind)
        for kind in TYPES
        for name, shape in shapes.items()
    }
    data = encode(tensors, {"names": ["zelle", "\u7ec6\u80de", '"']})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert data == safetensors.torch.save(tensors, metadata=header["__metadata__"])


def test_what_was_loaded_can_be_saved_again(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"x": torch.zeros(2)}, {"kind": "detector"})
    save_checkpoint(path, {"x": torch.ones(2)}, load_checkpoint(path).document)
    assert load_checkpoint(path).tensors["x"].tolist() == [1, 1]


def test_of_400_flipped_bits_none_loads(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    data = encode(example(), {"names": ["a"], "text": '"sha256":"0000'})
    rng = random.Random(1)
    places = [rng.randrange(8 * len(data)) for _ in range(300)] + [rng.randrange(8 * 900) for _ in range(100)]
    for place in places:
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            load_checkpoint(path)
    path.write_bytes(data)
    load_checkpoint(path)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 600, -1, -100])
def test_truncated_files_are_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(encode(example(), {})[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_foreign_and_future_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    foreign, future = tmp_path / "foreign.safetensors", tmp_path / "future.safetensors"
    safetensors.torch.save_file({"x": torch.ones(1)}, foreign)
    future.write_bytes(encode({}, {"version": 99}))
    with pytest.raises(CheckpointError, match="no Onelook metadata"):
        load_checkpoint(foreign)
    with pytest.raises(CheckpointError, match="version 99; this program reads version 1"):
        load_checkpoint(future)
    for told, document in (("version '\\\\u202e'", {"version": "\u202e"}), ("version 'aaaa", {"version": "a" * 9999})):
        future.write_bytes(encode({}, document))
        with pytest.raises(CheckpointError, match=told) as caught:
            load_checkpoint(future)
        assert caught.value.message.isprintable() and len(caught.value.message) < len(str(future)) + 150
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing.safetensors")


def in_place(path: Path, data: bytes, *, check: object = None) -> None:
    """The writer that must fail the kill test: it opens the final name and writes piece by piece."""
    with path.open("wb") as file:
        for start in range(0, len(data), 1 << 16):
            file.write(data[start : start + (1 << 16)])
            file.flush()


def at_calls_to_the_system(act: Callable[[int], None], do: Callable[[], None]) -> None:
    """`do()`, and before each of its calls that touch the disk `act(number)`, from 1."""
    number = 0

    def note(frame: FrameType, event: str, function: Any) -> None:
        nonlocal number
        owner = getattr(function, "__self__", None) if event == "c_call" else None
        if getattr(owner, "__name__", "") in ("posix", "_io") or isinstance(owner, io.IOBase):
            number += 1
            act(number)

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)


def save_until_killed(path: Path, last: int) -> None:
    """End this process before the call `last` of those that touch the disk, while it saves; with 0 if none comes."""

    def kill(number: int) -> None:
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)

    tensors = example(200_000, shift=1)
    at_calls_to_the_system(kill, lambda: save_checkpoint(path, tensors, {"round": 1}))
    os._exit(0)


def unreadable_after_kills(folder: Path, every: int = 1) -> int:
    """Kill a process that saves, before every call that touches the disk; how many of the files cannot be loaded then.

    Args:
        folder: of the file.
        every: 8 kills before every eighth call only.
    """
    path, tensors = folder / "last.safetensors", example(200_000)
    save_checkpoint(path, tensors, {"round": 0})  # the first time, modules are imported
    unreadable = 0
    for last in itertools.count(1, every):
        child = os.fork()
        if child == 0:
            save_until_killed(path, last)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            break
        assert code == -signal.SIGKILL
        try:
            load_checkpoint(path)
        except CheckpointError:
            unreadable += 1
            save_checkpoint(path, tensors, {"round": 0})
    assert last > 5
    return unreadable


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_kills_while_saving_leave_a_whole_checkpoint_and_the_leftovers_are_removed(tmp_path: Path) -> None:
    assert unreadable_after_kills(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) > 1
    remove_orphans(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_the_kill_test_would_see_a_writer_that_writes_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onelook.runs.checkpoint.write_bytes_atomic", in_place)
    assert unreadable_after_kills(tmp_path, every=8) > 1


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: object) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, example(), {"round": 1})

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, example(shift=1.0), {"round": 2})
    assert load_checkpoint(path).document["round"] == 1
    assert not [entry for entry in tmp_path.iterdir() if TEMPORARY_MARK in entry.name]
