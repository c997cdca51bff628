"""A teacher of any family: its classes by name, its boxes cell by cell."""

from __future__ import annotations

import pytest
import torch

from onelook.errors import ModelError
from onelook.losses.distillation import DistillationLoss, TeacherPredictions
from onelook.losses.protocol import LossTerms
from onelook.models.detector import DetectionModel, create_model
from onelook.settings.train import Teach, TrainSettings
from onelook.structures.batch import Targets
from onelook.training.families import create_loss
from onelook.training.state import AdaptedNetwork
from onelook.training.teacher import Teacher

NO_TARGETS = Targets(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), torch.empty(0, 4))
BODY = [[-1, 1, "Conv", [8, 3, 2]]] * 3 + [[-1, 1, "Conv", [16, 3, 2]]]
HEADS = {"YoloX": ["nc", 16], "Look": ["nc", 8, 8], "Detect": ["nc", "anchors"]}
ANCHORS = [[6, 6, 10, 10], [18, 18, 24, 24]]


def model_with(
    head: str, names: tuple[str, ...] = ("a", "b"), *, anchors: int = 2, width: float = 1.0
) -> DetectionModel:
    """Two maps, of strides 8 and 16."""
    table = {"nc": 2, "depth_multiple": 1.0, "width_multiple": width, "backbone": BODY}
    table |= {"head": [[[2, 3], 1, head, HEADS[head]]]}
    if head == "Detect":
        table["anchors"] = [sides[: 2 * anchors] for sides in ANCHORS]
    return create_model(table, names=names, seed=len(head)).eval()


def images() -> torch.Tensor:
    return torch.rand((2, 3, 64, 32), generator=torch.Generator().manual_seed(1))


def predictions_of(teacher: Teacher, raw_maps: list[torch.Tensor]) -> TeacherPredictions:
    predictions = teacher.targets(images(), raw_maps, NO_TARGETS, 0.0).teacher.predictions
    assert predictions is not None
    return predictions


@pytest.mark.parametrize("student", HEADS)
@pytest.mark.parametrize("teacher", HEADS)
def test_predictions_of_a_teacher_have_the_rows_of_the_student(teacher: str, student: str) -> None:
    learner = model_with(student)
    if student == "Detect" != teacher:
        with pytest.raises(ModelError, match=r"8`, `16` with 1 boxes per cell, the student `8`, `16` with 2\nhint: "):
            Teacher(model_with(teacher), learner)
        return
    raw_maps = learner(images())
    predictions = predictions_of(Teacher(model_with(teacher), learner), raw_maps)
    assert predictions.decoded.shape == learner.decode(raw_maps).shape
    rows = 2 if student == "Detect" else 1
    assert predictions.strides.tolist() == [8.0] * (8 * 4 * rows) + [16.0] * (4 * 2 * rows)
    centres = predictions.decoded[0, :, :2]
    if student != "Detect":
        cells = [(x, y, s) for s in (8, 16) for y in range(64 // s) for x in range(32 // s)]
        for (x, y, stride), centre in zip(cells, centres.tolist(), strict=True):
            assert abs(centre[0] - (x + 0.5) * stride) <= stride and abs(centre[1] - (y + 0.5) * stride) <= stride


def test_of_the_boxes_of_a_cell_the_surest_teaches() -> None:
    model, student = model_with("Detect"), model_with("YoloX")
    predictions = model.decode(model(images()))
    chosen = predictions_of(Teacher(model, student), student(images()))
    first, second = predictions[:, :32], predictions[:, 32:64]
    confidences = [(rows[..., 4:5] * rows[..., 5:]).amax(-1, keepdim=True) for rows in (first, second)]
    expected = torch.where(confidences[0] >= confidences[1], first, second)
    torch.testing.assert_close(chosen.decoded[:, :32], expected, atol=1e-4, rtol=1e-4)


def test_classes_are_matched_by_name() -> None:
    model = model_with("YoloX", ("b", "c", "a"))
    teacher = Teacher(model, model_with("YoloX", ("a", "x", "b")))
    found, own = teacher.predict(images()), model.decode(model(images()))
    torch.testing.assert_close(found[..., [5, 7]], own[..., [7, 5]], atol=1e-5, rtol=1e-4)
    assert not found[..., 6].any() and teacher.known.tolist() == [True, False, True]
    with pytest.raises(ModelError, match="knows none of the classes `x`, `y`; it knows `b`, `c`, `a`"):
        Teacher(model, model_with("YoloX", ("x", "y")))


def test_a_teacher_neither_changes_nor_is_part_of_the_gradient() -> None:
    student, model = model_with("Look"), model_with("YoloX")
    teacher = Teacher(model, student)
    predictions = predictions_of(teacher, student(images()))
    assert not predictions.decoded.requires_grad and not predictions.decoded.is_inference()


def distilled(
    student: DetectionModel, teacher: Teacher, network: AdaptedNetwork | DetectionModel, share_done: float = 0.0
) -> LossTerms:
    loss = DistillationLoss(create_loss(student, TrainSettings(imgsz=64)), student.decode)
    raw_maps = network(images())
    return loss(raw_maps, teacher.targets(images(), raw_maps, NO_TARGETS, share_done), share_done)


@pytest.mark.parametrize("student", HEADS)
@pytest.mark.parametrize("teacher", HEADS)
def test_features_are_taught_between_all_families(teacher: str, student: str) -> None:
    """Of other widths, too; gradients lead into the body of the student and the adapters alone."""
    learner, model = model_with(student).train(), model_with(teacher, width=2.0)
    seen = Teacher(model, learner, teach="features")
    adapters = seen.adapters(seed=5)
    assert adapters is not None and seen.columns == ("teach_feature",)
    assert [tuple(layer.weight.shape[:2]) for layer in adapters] == [(16, 8), (32, 16)]  # type: ignore[operator]
    torch.manual_seed(77)
    again = seen.adapters(seed=5)
    assert again is not None and all(map(torch.equal, adapters.parameters(), again.parameters()))
    network = AdaptedNetwork(learner, adapters)
    alone = create_loss(learner, TrainSettings(imgsz=64))(learner(images()), NO_TARGETS, 0.0)
    first, last = (distilled(learner, seen, network, share) for share in (0.0, 1.0))
    assert torch.equal(first.values[:-1], alone.values) and float(first.values[-1]) > 0.01
    assert float(last.values[-1] / first.values[-1]) == pytest.approx(0.1, rel=1e-3)
    (first.total - alone.total).backward()  # type: ignore[no-untyped-call]
    assert all(layer.weight.grad.abs().max() > 0 for layer in adapters)  # type: ignore[operator, union-attr]
    first_layer = next(learner.parameters())
    assert first_layer.grad is not None and first_layer.grad.abs().max() > 0
    kept = [*model.parameters(), *seen._model.parameters()]
    assert all(parameter.grad is None for parameter in kept)


@pytest.mark.parametrize(("teach", "columns"), [("predictions", 2), ("both", 3)])
def test_what_is_taught_has_a_column_for_each_term(teach: Teach, columns: int) -> None:
    learner = model_with("Look").train()
    seen = Teacher(model_with("YoloX"), learner, teach=teach)
    adapters = seen.adapters(seed=0)
    network = learner if adapters is None else AdaptedNetwork(learner, adapters)
    family = create_loss(learner, TrainSettings(imgsz=64)).columns
    assert len(seen.columns) == columns
    assert distilled(learner, seen, network).values.shape == (len(family) + columns,)


def test_features_of_other_strides_are_refused() -> None:
    table = {
        "nc": 2,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "backbone": BODY,
        "head": [[[1, 2], 1, "YoloX", ["nc", 16]]],
    }
    with pytest.raises(ModelError, match=r"strides `4`, `8` with 1 boxes per cell, the student `8`, `16` with 2"):
        Teacher(create_model(table, names=("a", "b")), model_with("Detect"), teach="features")
