"""Boxes and labels on images; colours."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest
from plots_examples import AWKWARD_NAMES

from onelook.drawing.boxes import draw_detections
from onelook.drawing.lettering import shown_name, text_bitmap
from onelook.drawing.palette import BASE_COLOURS, class_colour, relative_luminance, text_colour
from onelook.reports.plots.style import line_look, white_to_blue

GREY = 128
# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009,
# table 1, severity 1.0; they act on linear RGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def grey_image(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def draw(image: np.ndarray, boxes: list[list[float]], **options: object) -> np.ndarray:
    scores = np.linspace(0.9, 0.3, len(boxes))
    return draw_detections(image, np.array(boxes), np.arange(len(boxes)), scores, ["cat", "dog"], **options)


def lab(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]


@pytest.mark.parametrize("sight", COLOUR_BLINDNESS)
def test_base_colours_stay_apart_for_colour_blind_readers(sight: str) -> None:
    colours = np.array(BASE_COLOURS) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ COLOUR_BLINDNESS[sight].T, 0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    distances = {
        (first, second): float(np.linalg.norm(lab(seen)[first] - lab(seen)[second]))
        for first, second in combinations(range(len(colours)), 2)
    }
    assert min(distances.values()) > 15, distances


def test_21_classes_have_21_colours_and_curves() -> None:
    assert len({class_colour(class_id) for class_id in range(21)}) == 21
    assert len({tuple(line_look(class_id).items()) for class_id in range(21)}) == 21
    assert class_colour(21) == class_colour(0)


@pytest.mark.parametrize("class_id", range(21))
def test_label_text_has_enough_contrast(class_id: int) -> None:
    background = class_colour(class_id)
    lights = sorted(relative_luminance(colour) for colour in (background, text_colour(background)))
    assert (lights[1] + 0.05) / (lights[0] + 0.05) > 4.5


def test_equal_steps_of_the_colour_map_look_equal() -> None:
    colours = white_to_blue()(np.arange(0, 256, 15))[:, :3]
    steps = np.linalg.norm(np.diff(lab(colours), axis=0), axis=1)
    assert steps.max() < 1.15 * steps.min()
    assert colours[0].min() > 0.99


def test_drawing_leaves_the_given_image_alone() -> None:
    image = grey_image(100, 100)
    drawn = draw(image, [[10, 40, 60, 80]])
    assert (image == GREY).all()
    assert (drawn != GREY).any()


def test_no_boxes_give_an_equal_copy() -> None:
    image = grey_image(40, 50)
    drawn = draw_detections(image, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), ["cat"])
    assert (drawn == image).all()
    assert drawn is not image


def test_box_lines_have_the_class_colour_and_the_asked_thickness() -> None:
    drawn = draw(grey_image(100, 200), [[50, 40, 150, 80]], line_thickness=5, hide_labels=True)
    column = (drawn[20:60, 100] == class_colour(0)).all(axis=1)
    assert column.sum() == 5
    assert column[18:23].all()


@pytest.mark.parametrize("box", [[0, 0, 30, 20], [190, 95, 200, 100], [-50, -50, 500, 500], [198, 0, 200, 2]])
def test_labels_stay_whole_at_every_border(box: list[float]) -> None:
    """However near the border, the label's patch is as large as in the middle of the image."""

    def label_area(corners: list[float]) -> int:
        with_label, without = (draw(grey_image(100, 200), [corners], hide_labels=hide) for hide in (False, True))
        return int((with_label != without).any(axis=2).sum())

    line_overlap = 2 * 80
    assert label_area(box) > label_area([60, 40, 140, 80]) - line_overlap


def test_labels_shrink_to_fit_an_image_smaller_than_they_are() -> None:
    drawn = draw(grey_image(8, 12), [[1, 1, 10, 7]])
    assert drawn.shape == (8, 12, 3)
    assert (drawn != GREY).any()


def test_most_confident_box_is_on_top() -> None:
    boxes = np.array([[20, 30, 60, 70], [20, 30, 60, 70]])
    for scores, on_top in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
        drawn = draw_detections(grey_image(100, 100), boxes, np.array([0, 1]), np.array(scores), [], hide_labels=True)
        assert tuple(drawn[50, 20]) == class_colour(on_top)


def test_without_scores_the_smallest_box_is_on_top() -> None:
    boxes = np.array([[20, 30, 60, 70], [20, 30, 90, 90]])
    drawn = draw_detections(grey_image(100, 100), boxes, np.array([0, 1]), None, [], hide_labels=True)
    assert tuple(drawn[50, 20]) == class_colour(0)


def test_hiding_the_score_makes_the_label_shorter() -> None:
    def inked(**options: bool) -> int:
        return int((draw(grey_image(100, 200), [[50, 40, 150, 80]], **options) != GREY).any(axis=2).sum())

    assert inked() > inked(hide_conf=True) > inked(hide_labels=True)


@pytest.mark.parametrize("class_id", range(len(AWKWARD_NAMES) + 1))
def test_any_class_name_can_be_drawn(class_id: int) -> None:
    drawn = draw_detections(
        grey_image(100, 300), np.array([[20, 40, 80, 90]]), np.array([class_id]), None, AWKWARD_NAMES
    )
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 5


def test_names_are_made_fit_to_show() -> None:
    assert shown_name(AWKWARD_NAMES, 0) == "Größe"
    assert shown_name(AWKWARD_NAMES, 1) in {"類別", "class 1"}
    assert shown_name(AWKWARD_NAMES, 2) == "a very long cl…to end at all"
    assert shown_name(AWKWARD_NAMES, 4) == "class 4"
    assert shown_name(AWKWARD_NAMES, 5) == "λ μ"
    assert shown_name(AWKWARD_NAMES, -1) == "class -1"


def test_accents_are_really_drawn_and_all_texts_have_one_height() -> None:
    plain, accented = text_bitmap("Gruse", 20), text_bitmap("Grüße", 20)
    assert plain.shape[0] == accented.shape[0] == text_bitmap("gjpq", 20).shape[0]
    assert not np.array_equal(plain, accented)
    assert text_bitmap("H", 20).max() == 255
