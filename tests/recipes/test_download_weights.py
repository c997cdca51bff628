"""Published weights by name: fetched once, checked, found by `--weights NAME`, and never fetched by anything else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from https_server import serving_files, trusting
from yolox_files import save_pth, trained_yolox

import onelook
from onelook.cli.main import main
from onelook.errors import CheckpointError, DataError, SettingsError
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.models.catalog import MODELS
from onelook.recipes.download_weights import download_weights, weights_at
from onelook.training.detector_file import write_inference_file
from onelook.training.weights import load_detector

NAME = "yolox-nano"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a small model."""
    return save_pth(tmp_path_factory.mktemp("theirs") / "theirs.pth", *trained_yolox(NAME, 80)).read_bytes()


@pytest.fixture
def served(published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A server that has the file; what it is asked for."""
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    with serving_files({"/yolox_nano.pth": published}) as (address, asked):
        sha256 = hashlib.sha256(published).hexdigest()
        here = replace(PUBLISHED_WEIGHTS[NAME], url=f"{address}/yolox_nano.pth", sha256=sha256, size=len(published))
        monkeypatch.setitem(PUBLISHED_WEIGHTS, NAME, here)
        yield asked


def test_weights_are_fetched_once_and_found_by_name(served: list[str]) -> None:
    with pytest.raises(CheckpointError, match="not on this machine\nhint: fetch them once with `onelook download"):
        load_detector(Path(NAME))
    assert served == []
    result = download_weights(NAME, transport=trusting())
    assert result.is_new and load_detector(Path(NAME)).names[0] == "person"
    assert not download_weights(NAME, transport=trusting()).is_new and served == ["/yolox_nano.pth"]


def test_a_file_of_that_name_is_taken_first(served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="yolox-nano"):
        load_detector(Path(NAME))


def test_another_file_than_the_published_one_is_refused(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PUBLISHED_WEIGHTS, NAME, replace(PUBLISHED_WEIGHTS[NAME], sha256="0" * 64))
    with pytest.raises(DataError, match="SHA-256"):
        download_weights(NAME, folder=tmp_path / "here", transport=trusting())
    assert not list((tmp_path / "here").glob("*.pth"))


def test_licence_and_place_are_said(served: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = download_weights(NAME, transport=trusting()).path
    assert main(["download", NAME]) == 0
    said = capsys.readouterr().out
    assert f"here already: {path}" in said and "Apache-2.0" in said and "Megvii" in said
    assert "train with `--weights yolox-nano`" in said


@pytest.mark.parametrize("name", PUBLISHED_WEIGHTS)
def test_published_files_are_named_like_their_models(name: str) -> None:
    file = PUBLISHED_WEIGHTS[name]
    assert name in MODELS and len(file.sha256) == 64
    assert file.url == (
        f"https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/{name.replace('-', '_')}.pth"
    )


def test_weights_at_an_address_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    with serving_files({"/a/best.onnx?x=1": b"one", "/b/best.onnx": b"other"}) as (address, asked):
        one, other = (
            weights_at(f"{address}{path}", transport=trusting()) for path in ("/a/best.onnx?x=1", "/b/best.onnx")
        )
        assert (one.read_bytes(), other.read_bytes()) == (b"one", b"other") and one.name == other.name == "best.onnx"
        assert weights_at(f"{address}/b/best.onnx", transport=trusting()) == other and len(asked) == 2
        odd = weights_at(f"{address}/b/best.onnx", transport=trusting())
        assert odd.is_relative_to(tmp_path / "cache")


def test_a_known_address_has_its_known_hash(served: list[str]) -> None:
    path = weights_at(PUBLISHED_WEIGHTS[NAME].url, transport=trusting())
    assert path == download_weights(NAME, transport=trusting()).path and served == ["/yolox_nano.pth"]


def test_published_weights_are_exported_by_name(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    download_weights(NAME, transport=trusting())
    (made,) = onelook.export(NAME, imgsz=64, format="torchscript", device="cpu").exports
    assert made.path == Path("yolox-nano.torchscript")
    assert json.loads(made.report.read_text())["weights"] == {"name": NAME, "sha256": PUBLISHED_WEIGHTS[NAME].sha256}
    with pytest.raises(SettingsError, match="`update` is for checkpoints of Onelook, which `yolox-nano` is not"):
        write_inference_file(Path(NAME))


@pytest.mark.slow  # the name becomes a file where it does in `export`
def test_published_weights_are_measured_by_name(
    served: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = download_weights(NAME, transport=trusting()).path
    result = onelook.benchmark(NAME, imgsz=64, format="torchscript", device="cpu", rounds=1)
    assert result.rows[0].megabytes == path.stat().st_size / 1e6


def test_load_asks_the_web_only_if_told_to(served: list[str]) -> None:
    url = PUBLISHED_WEIGHTS[NAME].url
    with pytest.raises(SettingsError, match="are a web address, and nothing is fetched unless you ask for it"):
        onelook.load(url)
    with pytest.raises(CheckpointError, match="not on this machine"):
        onelook.load(NAME)
    with pytest.raises(SettingsError, match="conf_thresh"):  # before it asks
        onelook.load(url, download=True, conf_thresh=0.1)
    for weights in (url, NAME, [url]):
        with pytest.raises(DataError, match=r"127\.0\.0\.1"):  # it asks, and refuses this server, which is not public
            onelook.load(weights, download=True)
    assert served == []
    download_weights(NAME, transport=trusting())
    assert onelook.load(url, download=True).names[0] == "person"
