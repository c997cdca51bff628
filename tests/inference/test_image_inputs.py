"""Images in all the forms in which they are given in Python are the same pixels; what is no image is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_predictor import sample_image

from onelook.errors import DataError
from onelook.files.images import write_image
from onelook.inference.image_inputs import given_images

SHOT = sample_image(12, 20, (4, 2, 8, 0), (14, 4, 3, 1))


def pixels_of(source: Any) -> tuple[list[np.ndarray], bool]:
    images, is_single = given_images(source)
    return [given.pixels() for given in images], is_single


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", SHOT)
    write_image(tmp_path / "b.png", SHOT[::-1])
    return tmp_path


def test_a_single_image_comes_in_many_forms(folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    tensor = torch.from_numpy(SHOT).permute(2, 0, 1)
    forms = [SHOT, tensor, tensor / 255, (tensor / 255).double(), folder / "a.png", str(folder / "a.png")]
    forms += [image_module.fromarray(SHOT), image_module.open(folder / "a.png")]
    for form in forms:
        (found,), is_single = pixels_of(form)
        assert is_single and found.dtype == np.uint8 and np.array_equal(found, SHOT), type(form)


def test_several_images_come_as_lists_folders_patterns_and_batches(folder: Path) -> None:
    both = [SHOT, SHOT[::-1]]
    tensors = torch.from_numpy(np.stack(both)).permute(0, 3, 1, 2)
    forms: list[Any] = [both, tuple(both), np.stack(both), tensors, [folder / "a.png", tensors[1]], folder]
    for form in [*forms, str(folder / "*.png")]:
        found, is_single = pixels_of(form)
        assert not is_single and len(found) == 2
        assert all(np.array_equal(one, other) for one, other in zip(found, both, strict=True)), type(form)
    assert pixels_of([SHOT])[1] is False, "list in, list out"
    assert pixels_of([]) == ([], False)


def test_images_of_pillow_are_rotated_by_exif_and_coloured(folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.fromarray(np.ascontiguousarray(np.rot90(SHOT)))
    image.getexif()[0x0112] = 6  # a quarter turn to the right is needed
    image.save(folder / "turned.png", exif=image.getexif())
    ((found,), _) = pixels_of(image_module.open(folder / "turned.png"))
    assert np.array_equal(found, SHOT)
    grey = image_module.fromarray(SHOT[..., 0])
    assert grey.mode == "L"
    ((found,), _) = pixels_of(grey)
    assert np.array_equal(found, np.repeat(SHOT[..., :1], 3, axis=2))


def test_images_of_pillow_with_16_bits_are_reduced_as_files_are(folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    deep = image_module.fromarray(values)
    deep.save(folder / "deep.png")
    ((found,), _), ((of_file,), _) = pixels_of(deep), pixels_of(folder / "deep.png")
    assert np.array_equal(found, of_file) and found.max() == 63000 >> 8
    for mode in ("F", "I"):
        with pytest.raises(DataError, match=f"an image of Pillow with the mode `{mode}` has no 8 bits"):
            given_images(image_module.fromarray(values.astype(np.int32)).convert(mode))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\) and type uint8 is not an image"),
        (np.zeros((8, 8, 3)), "type float64 is not an image"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\)"),
        (np.zeros((0, 8, 3), np.uint8), "is not an image"),
        (torch.zeros(8, 8, 3), r"a tensor of shape \(8, 8, 3\) is not an image"),
        (torch.zeros(3, 0, 8), "is not an image"),
        (torch.full((3, 8, 8), 255.0), "values from 255 to 255\nhint: floats are from 0 to 1; divide by 255"),
        (torch.full((3, 8, 8), torch.nan), "from nan to nan"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "type torch.int64 is not an image"),
        (7, r"a `int` is not an image\nhint: \(H, W, 3\) uint8 RGB arrays"),
        ([None], "a `NoneType` is not an image"),
        (b"\xff\xd8", "a `bytes` is not an image"),
        (torch.zeros(3, 8, 8).to_sparse(), "a tensor of layout torch.sparse_coo on cpu has no pixels"),
        (torch.zeros(3, 8, 8, device="meta"), "a tensor of layout torch.strided on meta has no pixels"),
        ("", "a source is empty"),
        ([""], "a source is empty"),
        ("no.jpg", "`no.jpg` does not exist"),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(source: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        pixels_of(source)


def test_an_image_of_pillow_that_cannot_be_decoded_is_refused(folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    write_image(folder / "c.bmp", SHOT)
    (folder / "c.bmp").write_bytes((folder / "c.bmp").read_bytes()[:300])
    closed = image_module.open(folder / "a.png")
    closed.close()
    for image in (image_module.open(folder / "c.bmp"), closed):
        with pytest.raises(DataError, match=r"an image of Pillow cannot be decoded: .+\nhint: "):
            pixels_of(image)


def test_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "c.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a video\nhint: use `onelook\.detect`"):
        pixels_of(tmp_path / "c.mp4")
