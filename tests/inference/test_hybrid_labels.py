"""Labels among predictions, image by image, whatever their number."""

from __future__ import annotations

import torch

from onelook.geometry.nms import non_max_suppression
from onelook.inference.hybrid_labels import with_labels
from onelook.structures.batch import Targets


def test_each_image_gets_its_own_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    predictions = torch.rand(3, 4, 8, generator=generator)
    boxes = torch.rand(3, 4, generator=generator)
    targets = Targets(torch.tensor([2, 0, 2]), torch.tensor([1, 0, 2]), boxes)
    found = with_labels(predictions, targets, frame_hw=(50, 100))
    assert found.shape == (3, 6, 8) and torch.equal(found[:, :4], predictions)
    pixels = boxes * torch.tensor([100, 50, 100, 50])
    assert torch.equal(found[0, 4], torch.cat([pixels[1], torch.tensor([1.0, 1, 0, 0])]))
    assert torch.equal(found[2, 4], torch.cat([pixels[0], torch.tensor([1.0, 0, 1, 0])]))
    assert torch.equal(found[2, 5], torch.cat([pixels[2], torch.tensor([1.0, 0, 0, 1])]))
    assert not found[1, 4:].any() and not found[0, 5:].any()


def test_labels_win_over_what_is_found_at_their_place() -> None:
    sure = torch.tensor([[[50.0, 50, 20, 20, 0.9, 0.9, 0.1], [20, 20, 10, 10, 0.9, 0.9, 0.1]]])
    targets = Targets(torch.tensor([0]), torch.tensor([0]), torch.tensor([[0.51, 0.5, 0.2, 0.2]]))
    hybrid = with_labels(sure, targets, frame_hw=(100, 100))
    (kept,) = non_max_suppression(hybrid, conf_thres=0.25, iou_thres=0.5)
    assert kept[:, 4].tolist() == [1.0, kept[1, 4].item()]
    torch.testing.assert_close(kept[:, :4], torch.tensor([[41.0, 40, 61, 60], [15, 15, 25, 25]]))


def test_no_labels_and_no_images_are_fine() -> None:
    none = Targets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    assert with_labels(torch.ones(2, 3, 7), none, frame_hw=(8, 8)).shape == (2, 3, 7)
    assert with_labels(torch.ones(0, 3, 7), none, frame_hw=(8, 8)).shape == (0, 3, 7)
