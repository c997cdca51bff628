"""The cache of a scan: used when nothing changed, rebuilt when anything did, harmless when damaged."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from small_dataset import GOOD_ROW, make_dataset, pixels

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec
from onelook.data.scan.cache import load_scan, save_scan
from onelook.data.scan.index import ScanResult, scan_split
from onelook.files.cache_folder import default_cache_folder

LABELS: dict[str, str | bytes | None] = {"a": GOOD_ROW, "b": "1 0.9 0.5 0.4 0.5\n0 1\n", "c": None, "d": ""}


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    (tmp_path / "data").mkdir()
    return make_dataset(tmp_path / "data", LABELS)


def scan(spec: DatasetSpec) -> ScanResult:
    return scan_split(spec, "train", cache_folder=spec.root.parent / "cache")


def assert_same(one: ScanResult, other: ScanResult) -> None:
    assert one.ledger == other.ledger
    assert (one.index.paths, one.index.fingerprint) == (other.index.paths, other.index.fingerprint)
    for name in ("sizes_hw", "offsets", "class_ids", "boxes", "polygon_offsets", "polygon_points"):
        mine, yours = getattr(one.index, name), getattr(other.index, name)
        assert mine.dtype == yours.dtype
        assert np.array_equal(mine, yours)
    assert np.array_equal(one.image_digests, other.image_digests)


def test_second_scan_comes_from_the_cache_and_is_equal(spec: DatasetSpec) -> None:
    first, second = scan(spec), scan(spec)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert_same(first, second)


def edit_label(spec: DatasetSpec) -> None:
    (spec.root / "labels/train/a.txt").write_text(GOOD_ROW.replace("0.2", "0.3"))


def edit_image(spec: DatasetSpec) -> None:
    (spec.root / "images/train/a.png").write_bytes(pixels(77))


def add_label(spec: DatasetSpec) -> None:
    (spec.root / "labels/train/c.txt").write_text(GOOD_ROW)


def remove_label(spec: DatasetSpec) -> None:
    (spec.root / "labels/train/d.txt").unlink()


def add_image(spec: DatasetSpec) -> None:
    (spec.root / "images/train/e.png").write_bytes(pixels(78))


def remove_image(spec: DatasetSpec) -> None:
    (spec.root / "images/train/c.png").unlink()


def add_class(spec: DatasetSpec) -> None:
    (spec.root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog, owl]\n")


@pytest.mark.parametrize("edit", [edit_label, edit_image, add_label, remove_label, add_image, remove_image, add_class])
def test_every_change_is_noticed(spec: DatasetSpec, edit: Callable[[DatasetSpec], None]) -> None:
    scan(spec)
    edit(spec)
    spec = load_dataset_spec(spec.path)
    fresh = scan(spec)
    assert not fresh.from_cache
    assert_same(fresh, scan_split(spec, "train"))
    assert scan(spec).from_cache


@pytest.mark.parametrize("name", ["labels/train/a.txt", "images/train/a.png"])
def test_edit_that_keeps_the_size_and_sets_the_time_back_is_noticed(spec: DatasetSpec, name: str) -> None:
    scan(spec)
    path = spec.root / name
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh = scan(spec)
    assert not fresh.from_cache
    assert_same(fresh, scan_split(spec, "train"))


def test_renamed_class_keeps_the_cache(spec: DatasetSpec) -> None:
    scan(spec)
    (spec.root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, wolf]\n")
    assert scan(load_dataset_spec(spec.path)).from_cache


def cache_file(spec: DatasetSpec) -> Path:
    (path,) = (spec.root.parent / "cache").iterdir()
    return path


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
    "checksum": lambda data: data[:20] + bytes(4) + data[24:],
    "other format": lambda data: b"onelook scan 9\n\0" + data[16:],
    "text": lambda data: b"hello",
    "longer": lambda data: data + b"x",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_rebuilt(spec: DatasetSpec, damage: str) -> None:
    first = scan(spec)
    path = cache_file(spec)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = scan(spec)
    assert not again.from_cache
    assert_same(first, again)
    assert scan(spec).from_cache


def sealed(arrays: dict[str, np.ndarray], *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=pickled, **arrays)
    content = buffer.getvalue()
    return b"onelook scan 1\n\0" + hashlib.sha256(content).digest() + content


HOSTILE: dict[str, tuple[str, np.ndarray]] = {
    "offsets beyond the end": ("offsets", np.array([0, 1, 9, 9, 9])),
    "offsets that fall": ("offsets", np.array([0, 2, 1, 2, 2])),
    "boxes of another length": ("boxes", np.zeros((7, 4), np.float32)),
    "another number of images": ("is_kept", np.ones(9, bool)),
    "ledger that does not add up": ("ledger", np.frombuffer(b'{"format": 1, "entries": []}', np.uint8)),
    "ledger that is no object": ("ledger", np.frombuffer(b"[]", np.uint8)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_cache_that_makes_no_sense_is_rebuilt(spec: DatasetSpec, case: str) -> None:
    first = scan(spec)
    data = cache_file(spec).read_bytes()
    with np.load(io.BytesIO(data[48:]), allow_pickle=False) as archive:
        arrays = dict(archive)
    name, value = HOSTILE[case]
    cache_file(spec).write_bytes(sealed({**arrays, name: value}))
    again = scan(spec)
    assert not again.from_cache
    assert_same(first, again)


def test_pickle_in_a_cache_is_never_loaded(tmp_path: Path) -> None:
    key = np.arange(32, dtype=np.uint8)
    path = tmp_path / "a.cache"
    save_scan(path, {"key": key, "boxes": np.zeros(3)})
    assert load_scan(path, key) is not None
    path.write_bytes(sealed({"key": key, "boxes": np.array([{"a": 1}], object)}, pickled=True))
    assert load_scan(path, key) is None


def test_cache_folder_that_cannot_be_made_does_no_harm(spec: DatasetSpec) -> None:
    (spec.root.parent / "cache").write_text("a file stands in the way")
    assert not scan(spec).from_cache
    assert not scan(spec).from_cache


def scan_in_process(yaml: str) -> str:
    return scan(load_dataset_spec(yaml)).index.fingerprint


@pytest.mark.slow
def test_writers_at_the_same_time_leave_a_good_cache(spec: DatasetSpec) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        prints = set(pool.map(scan_in_process, [str(spec.path)] * 12))
    assert prints == {scan(spec).index.fingerprint}
    assert scan(spec).from_cache
    assert len(list((spec.root.parent / "cache").iterdir())) == 1


def test_cache_folder_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONELOOK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_folder() == tmp_path / "home/.cache/onelook"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_folder() == tmp_path / "xdg/onelook"
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "own"))
    assert default_cache_folder() == tmp_path / "own"
    assert (tmp_path / "own").is_dir()


def test_temporary_folder_is_used_without_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file/home"))
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "file/own"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("onelook.files.cache_folder.tempfile.gettempdir", lambda: str(tmp_path))
    folder = default_cache_folder()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "ONELOOK_CACHE" in caplog.text
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    with pytest.raises(Exception, match="no cache folder"):
        default_cache_folder()
