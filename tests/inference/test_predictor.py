"""A model made by hand that sees red and green cells: where its boxes must lie is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from colours import colour_detector

from onelook.errors import DataError, SettingsError
from onelook.inference.predictor import PredictionSettings, Predictor
from onelook.structures.detections import Detections


def sample_image(height: int, width: int, *spots: tuple[int, int, int, int]) -> np.ndarray:
    """Black, with spots (x, y, size, channel)."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, size, channel in spots:
        image[y : y + size, x : x + size, channel] = 255
    return image


def predictor(**settings: object) -> Predictor:
    return Predictor(colour_detector(), PredictionSettings(**{"imgsz": 64, **settings}))  # type: ignore[arg-type]


def boxes_of(detections: Detections) -> list[list[float]]:
    return sorted(detections.boxes.round(3).tolist())


def test_boxes_lie_on_the_spots() -> None:
    (found,) = predictor().predict([sample_image(64, 64, (24, 16, 8, 0), (40, 56, 8, 1))])
    order = np.argsort(found.class_ids)
    assert found.class_ids[order].tolist() == [0, 1]
    np.testing.assert_allclose(found.boxes[order], [[24, 16, 32, 24], [40, 56, 48, 64]], atol=1e-4)
    assert (found.scores > 0.8).all()
    assert [found.boxes.dtype, found.scores.dtype, found.class_ids.dtype] == [np.float32, np.float32, np.int64]


@pytest.mark.parametrize(
    ("size_hw", "spot", "box"),
    [
        ((128, 128), (48, 32, 16, 0), [48, 32, 64, 48]),
        ((128, 256), (64, 32, 32, 0), [64, 32, 96, 64]),
        ((256, 128), (32, 64, 32, 0), [32, 64, 64, 96]),
        ((32, 32), (12, 8, 4, 0), [12, 8, 16, 12]),
    ],
)
def test_boxes_are_in_pixels_of_the_original(
    size_hw: tuple[int, int], spot: tuple[int, int, int, int], box: list[int]
) -> None:
    (found,) = predictor().predict([sample_image(*size_hw, spot)])
    np.testing.assert_allclose(found.boxes, [box], atol=1e-3)


def test_borders_of_the_frame_are_taken_off_again() -> None:
    """44 rows lie in a frame of 48, 2 are above them and 2 below."""
    (found,) = predictor().predict([sample_image(44, 64, (24, 14, 8, 0))])
    np.testing.assert_allclose(found.boxes, [[24, 14, 32, 22]], atol=1e-3)


def test_boxes_are_cut_at_the_image() -> None:
    model = colour_detector()
    model.set_anchors(torch.tensor([[[16.0, 16.0]]]))
    (found,) = Predictor(model, PredictionSettings(imgsz=64)).predict([sample_image(64, 64, (0, 0, 8, 0))])
    np.testing.assert_allclose(found.boxes, [[0, 0, 12, 12]], atol=1e-3)


def test_an_image_has_the_same_result_whatever_is_beside_it() -> None:
    images = [
        sample_image(64, 64, (8, 8, 8, 0)),
        sample_image(128, 64, (16, 32, 16, 1)),
        sample_image(64, 64),
        sample_image(30, 64),
    ]
    together = predictor().predict(images)
    alone = [predictor().predict([image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
    assert [len(found) for found in together] == [1, 1, 0, 0]


def test_no_images_give_no_results() -> None:
    assert predictor().predict([]) == []


def test_settings_choose_what_counts() -> None:
    image = sample_image(64, 64, (8, 8, 8, 0), (24, 8, 8, 0), (40, 40, 8, 1))
    assert len(predictor().predict([image])[0]) == 3
    assert predictor(classes=(1,)).predict([image])[0].class_ids.tolist() == [1]
    assert len(predictor(max_det=2).predict([image])[0]) == 2
    assert len(predictor(conf_thres=1.0).predict([image])[0]) == 0


def test_agnostic_nms_goes_across_classes() -> None:
    model = colour_detector()
    model.set_anchors(torch.tensor([[[64.0, 64.0]]]))
    image = sample_image(64, 64, (24, 24, 8, 0), (32, 24, 8, 1))
    found = [
        len(Predictor(model, PredictionSettings(imgsz=64, agnostic_nms=agnostic)).predict([image])[0])
        for agnostic in (False, True)
    ]
    assert found == [2, 1]


def test_rectangular_frames_are_allowed() -> None:
    (found,) = predictor(imgsz=(32, 64)).predict([sample_image(64, 128, (32, 16, 16, 0))])
    np.testing.assert_allclose(found.boxes, [[32, 16, 48, 32]], atol=1e-3)


def test_model_is_left_as_it_was() -> None:
    model = colour_detector()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Predictor(model, PredictionSettings(imgsz=64)).predict([sample_image(64, 64, (8, 8, 8, 0))])
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"imgsz": 60}, "`imgsz` is 60; the model needs multiples of 8\nhint: use 64"),
        ({"imgsz": (64, 4)}, "hint: use 64 8"),
        ({"classes": (0, 5)}, r"`classes` names `5`; the model has classes 0 to 1"),
        ({"half": True}, "`half` needs a GPU"),
        ({"conf_thres": 1.5}, "`conf_thres` is 1.5"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        predictor(**settings).predict([sample_image(64, 64)])


@pytest.mark.parametrize("array", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)])
def test_arrays_that_are_no_images_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="is not an image"):
        predictor().predict([array])
