"""The whole loss: gains, gradient flow, determinism, precision, and finiteness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from plain_loss import plain_loss
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onelook.losses.detection_loss import DetectionLoss
from onelook.losses.protocol import LossTerms
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.anchors import AnchorGrid
from onelook.structures.batch import Targets

ANCHORS = torch.tensor([[[10.0, 13.0], [33.0, 23.0]], [[60.0, 45.0], [59.0, 119.0]], [[116.0, 90.0], [156.0, 198.0]]])
SIZES = [(12, 16), (6, 8), (3, 4)]
TARGETS = Targets(
    torch.tensor([0, 1, 1]),
    torch.tensor([0, 2, 1]),
    torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.71, 0.63, 0.5, 0.6], [0.71, 0.63, 0.45, 0.66]]),
)
NO_TARGETS = Targets(torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))


def grid(num_maps: int = 3) -> AnchorGrid:
    return AnchorGrid(ANCHORS[:num_maps], torch.tensor([8.0, 16.0, 32.0][:num_maps]))


def criterion(num_maps: int = 3, imgsz: int = 640, auto_balance: bool = False, **changes: float) -> DetectionLoss:
    return DetectionLoss(
        grid(num_maps),
        num_classes=3,
        imgsz=imgsz,
        hyperparameters=Hyperparameters(**changes),
        auto_balance=auto_balance,
    )


def maps(num_maps: int = 3, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(2, 2, *size, 8, generator=generator).to(dtype).requires_grad_() for size in SIZES[:num_maps]]


def values(terms: LossTerms) -> list[float]:
    return terms.values.tolist()


def test_total_is_the_sum_of_the_terms_times_the_batch() -> None:
    terms = criterion()(maps(), TARGETS)
    assert terms.total.item() == pytest.approx(2 * sum(values(terms)), rel=1e-6)
    assert terms.total.requires_grad
    assert not terms.values.requires_grad


@pytest.mark.parametrize(
    ("changes", "factors"),
    [
        ({"imgsz": 320}, (1, 0.25, 1)),
        ({"box": 0.1}, (2, 1, 1)),
        ({"cls": 0.25}, (1, 1, 0.5)),
        ({"obj": 3.0}, (1, 3, 1)),
    ],
)
def test_gains_scale_their_own_term_only(changes: dict[str, float], factors: tuple[float, ...]) -> None:
    plain = values(criterion()(maps(), TARGETS))
    changed = values(criterion(**changes)(maps(), TARGETS))  # type: ignore[arg-type]
    assert changed == pytest.approx([value * factor for value, factor in zip(plain, factors, strict=True)], rel=1e-5)


def test_fewer_maps_raise_the_gains() -> None:
    two = criterion(num_maps=2)
    assert [two.box_gain, two.obj_gain, two.cls_gain] == pytest.approx([0.05 * 1.5, 1.5, 0.5 * 1.5 * 3 / 80])
    assert two.balance.tolist() == [4.0, 1.0]


def test_box_and_class_gradients_reach_matched_cells_only_and_objectness_all() -> None:
    raw = maps()
    criterion()(raw, TARGETS).total.backward()
    for raw_map in raw:
        gradient = raw_map.grad
        assert gradient is not None
        assert (gradient[..., 4] != 0).all()
        touched = (gradient[..., [0, 1, 2, 3, 5, 6, 7]] != 0).any(dim=-1).sum().item()
        assert 0 < touched < gradient[..., 4].numel() / 4


def test_objectness_does_not_pull_the_boxes() -> None:
    raw = maps()
    criterion(box=0.0, cls=0.0)(raw, TARGETS).total.backward()
    for raw_map in raw:
        assert raw_map.grad is not None
        assert (raw_map.grad[..., [0, 1, 2, 3, 5, 6, 7]] == 0).all()


def test_without_targets_only_objectness_counts() -> None:
    raw = maps()
    terms = criterion()(raw, NO_TARGETS)
    terms.total.backward()
    box, objectness, classes = values(terms)
    assert box == classes == 0.0
    assert objectness > 0
    for raw_map in raw:
        assert raw_map.grad is not None
        assert (raw_map.grad[..., :4] == 0).all()


def test_order_of_the_targets_does_not_matter() -> None:
    order = torch.tensor([2, 0, 1])
    shuffled = Targets(TARGETS.image_index[order], TARGETS.class_ids[order], TARGETS.boxes[order])
    assert values(criterion()(maps(), shuffled)) == pytest.approx(values(criterion()(maps(), TARGETS)), rel=1e-6)


def test_half_precision_maps_under_autocast_are_summed_in_float32() -> None:
    raw = maps(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = criterion()(raw, TARGETS)
    exact = criterion()([raw_map.detach().float() for raw_map in raw], TARGETS)
    assert terms.total.dtype == torch.float32
    assert values(terms) == values(exact)
    terms.total.backward()
    assert raw[0].grad is not None
    assert raw[0].grad.dtype == torch.bfloat16


def test_a_model_of_seven_maps_has_a_loss() -> None:
    strides = torch.tensor([4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
    seven = AnchorGrid(ANCHORS[:1].expand(7, -1, -1), strides)
    loss = DetectionLoss(seven, num_classes=3, imgsz=640, hyperparameters=Hyperparameters())
    assert loss([maps()[2]] * 7, TARGETS).values.isfinite().all()


def test_automatic_balance_moves_in_training_only_and_survives_a_save() -> None:
    loss = criterion(auto_balance=True)
    with torch.no_grad():
        loss(maps(), TARGETS)
    assert loss.balance.tolist() == pytest.approx([4.0, 1.0, 0.4])
    loss(maps(), TARGETS)
    assert loss.balance[0] != 4.0
    other = criterion(auto_balance=True)
    other.balance = loss.balance
    assert values(other(maps(), TARGETS)) == values(loss(maps(), TARGETS))


def test_training_goes_on_after_an_evaluation_in_inference_mode() -> None:
    loss = criterion(auto_balance=True)
    with torch.inference_mode():
        evaluated = values(loss(maps(), TARGETS))
    terms = loss(maps(), TARGETS)
    terms.total.backward()
    assert values(terms) == evaluated
    assert not loss.balance.is_inference()


def test_a_perfect_map_has_almost_no_loss() -> None:
    """Logits built from the decoding formula backwards, for one target that three cells answer for."""
    anchors = AnchorGrid(torch.tensor([[[32.0, 48.0]]]), torch.tensor([16.0]))
    targets = Targets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.53125, 0.53125, 0.25, 0.375]]))
    raw = torch.full((1, 1, 8, 8, 8), -30.0)
    for row, column in ((4, 4), (4, 3), (3, 4)):
        share_x, share_y = (4.25 - column + 0.5) / 2, (4.25 - row + 0.5) / 2
        raw[0, 0, row, column, :2] = torch.tensor([share_x, share_y]).logit(eps=1e-6)
        raw[0, 0, row, column, 2:4] = 0.0
        raw[0, 0, row, column, [4, 6]] = 30.0
    loss = DetectionLoss(anchors, num_classes=3, imgsz=128, hyperparameters=Hyperparameters())
    terms = loss([raw], targets)
    assert sum(values(terms)) < 1e-4


# Whether subnormal numbers are drawn would otherwise depend on the modules that are loaded: some switch them off.
finite = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False) | st.sampled_from(
    [0.0, 1.5 * 2.0**-126, -1e4, 6e4, 0.5, 1.0]
)


@settings(max_examples=60)
@given(
    boxes=arrays(np.float32, (4, 4), elements=finite | st.floats(0, 1, width=32, allow_subnormal=False)),
    logits=arrays(np.float32, 8, elements=finite),
    gamma=st.sampled_from([0.0, 0.3, 1.5]),
)
def test_loss_and_gradient_are_finite_for_any_finite_input(boxes: np.ndarray, logits: np.ndarray, gamma: float) -> None:
    targets = Targets(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 2, 0]), torch.tensor(boxes))
    raw = [torch.tensor(logits).expand(2, 2, *size, 8).clone().requires_grad_() for size in SIZES]
    terms = criterion(fl_gamma=gamma)(raw, targets)
    assert terms.total.isfinite()
    terms.total.backward()
    assert all(raw_map.grad is not None and raw_map.grad.isfinite().all() for raw_map in raw)


def crowd(per_image: int, images: int = 2) -> Targets:
    rng = np.random.Generator(np.random.Philox(key=per_image))
    count = per_image * images
    boxes = np.column_stack([rng.uniform(0, 1, (count, 2)), rng.uniform(0.02, 0.9, (count, 2))])
    return Targets(
        torch.arange(count) % images, torch.from_numpy(rng.integers(0, 3, count)), torch.from_numpy(boxes).float()
    )


@pytest.mark.parametrize("changes", [{}, {"fl_gamma": 1.5, "label_smoothing": 0.1, "cls_pw": 0.5, "obj_pw": 2.0}])
@pytest.mark.parametrize("per_image", [0, 1, 2, 8, 33, 300])
def test_value_and_gradient_equal_the_plain_form(per_image: int, changes: dict[str, float]) -> None:
    loss, targets = criterion(**changes), crowd(per_image)
    ours, plain = maps(), maps()
    found = loss(ours, targets)
    total, terms = plain_loss(loss, plain, targets)
    assert found.total.item() == pytest.approx(total.item(), rel=3e-7)
    assert values(found) == pytest.approx(terms.tolist(), rel=3e-7)
    found.total.backward()
    total.backward()
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("count", "length"), [(0, 16), (1, 16), (16, 16), (17, 32), (130, 160), (600, 640)])
def test_targets_come_in_few_lengths(count: int, length: int) -> None:
    targets = crowd(count, images=1)
    padded = targets.padded()
    assert len(padded) == length
    assert torch.equal(padded.boxes[:count], targets.boxes) and (padded.boxes[count:] == 0).all()


def test_operations_and_shapes_follow_from_the_length_alone() -> None:
    """The same operations on the same shapes for other boxes: no match is picked out by its value."""

    class Log(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[tuple[str, list[torch.Size]]] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            self.found.append((str(func), [x.shape for x in tree_leaves(result) if isinstance(x, torch.Tensor)]))
            return result

    loss = criterion()
    loss(maps(), NO_TARGETS)
    logs = []
    for targets in (NO_TARGETS, TARGETS, crowd(8)):
        raw = maps()
        with Log() as log:
            loss(raw, targets.padded()).total.backward()
        logs.append(log.found)
    assert logs[0] == logs[1] == logs[2]
    assert not any(name.startswith(("aten.nonzero", "aten._local_scalar_dense")) for name, _ in logs[0])
