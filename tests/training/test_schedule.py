"""The schedule: decay, warm-up, updates; checked against the formulas and traces of the reference."""

from __future__ import annotations

import pytest

from onelook.data.sampler import EpochOrder
from onelook.settings.train import TrainSettings
from onelook.training.schedule import Schedule, decay_factor, nominal_batch


def settings(**given: object) -> TrainSettings:
    return TrainSettings.model_validate({"epochs": 10, "batch_size": 16, **given})


def test_linear_decay_follows_the_published_trace_without_its_lag() -> None:
    trace = [1, 1, 0.901, 0.802, 0.703, 0.604, 0.505, 0.406, 0.307, 0.208]
    ours = [decay_factor(epoch / 10, 0.01, cosine=False) for epoch in range(10)]
    lagged = [ours[max(epoch - 1, 0)] for epoch in range(10)]
    assert lagged == pytest.approx(trace, abs=1e-12)
    assert ours[9] == pytest.approx(0.109)
    assert decay_factor(1.0, 0.01, cosine=False) == pytest.approx(0.01)


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 1.0), (0.5, 0.505), (1.0, 0.01)])
def test_cosine_decay_starts_halves_and_ends_where_it_should(progress: float, factor: float) -> None:
    assert decay_factor(progress, 0.01, cosine=True) == pytest.approx(factor)


def test_learning_rate_at_the_first_step_of_an_epoch_is_that_of_the_epoch() -> None:
    schedule = Schedule(settings(warmup_epochs=0, epochs=10), num_images=160)
    per_epoch = [schedule.at(epoch * 10).lr for epoch in range(10)]
    assert per_epoch == pytest.approx([0.01 * decay_factor(epoch / 10, 0.01, cosine=False) for epoch in range(10)])


def test_warm_up_moves_rates_and_momentum_from_start_to_plan() -> None:
    schedule = Schedule(settings(epochs=100, warmup_epochs=3), num_images=1600)
    start, middle, end = schedule.at(0), schedule.at(150), schedule.at(300)
    assert schedule.warmup_steps == 300
    assert (start.lr_bias, start.lr, start.momentum) == (0.1, 0.0, 0.8)
    assert middle.lr == pytest.approx(0.5 * 0.01 * decay_factor(150 / 10000, 0.01, cosine=False))
    assert middle.momentum == pytest.approx((0.8 + 0.937) / 2)
    assert end.lr == end.lr_bias == pytest.approx(0.01 * decay_factor(0.03, 0.01, cosine=False))
    assert end.momentum == 0.937


@pytest.mark.parametrize(
    ("epochs", "warmup_epochs", "num_images", "steps"),
    [(10, 3.0, 160, 10), (300, 3.0, 160, 30), (1, 3.0, 16, 0), (100, 0.0, 1600, 0)],
)
def test_warm_up_takes_at_most_a_tenth_of_the_run(
    epochs: int, warmup_epochs: float, num_images: int, steps: int
) -> None:
    schedule = Schedule(settings(epochs=epochs, warmup_epochs=warmup_epochs), num_images=num_images)
    assert schedule.warmup_steps == steps
    assert schedule.at(0).lr >= 0


@pytest.mark.parametrize(
    ("given", "num_images", "nominal"),
    [
        ({"epochs": 40}, 205, 16),
        ({"epochs": 300}, 118287, 64),
        ({"epochs": 300, "batch_size": 40}, 118287, 80),
        ({"epochs": 300, "batch_size": 128}, 118287, 128),
        ({"epochs": 40, "nominal_batch": 64}, 205, 64),
        ({"epochs": 3}, 5, 5),
    ],
)
def test_images_per_update_are_64_but_fewer_in_short_runs(
    given: dict[str, object], num_images: int, nominal: int
) -> None:
    assert nominal_batch(settings(**given), num_images) == nominal


@pytest.mark.parametrize("num_images", [64, 205, 1000])
def test_every_epoch_ends_with_an_update_and_none_is_longer_than_nominal(num_images: int) -> None:
    schedule = Schedule(settings(nominal_batch=64, epochs=20), num_images=num_images)
    per_epoch = schedule.batches_per_epoch
    for epoch in range(20):
        updates = [batch for batch in range(per_epoch) if schedule.at(epoch * per_epoch + batch).is_update]
        gaps = [after - before for before, after in zip([-1, *updates], updates, strict=False)]
        assert updates[-1] == per_epoch - 1
        assert max(gaps) <= 4
    late = [schedule.at(19 * per_epoch + batch).is_update for batch in range(per_epoch)]
    assert sum(late) == -(-per_epoch // 4)
    assert schedule.total_updates == 20 * sum(late)


@pytest.mark.parametrize(
    ("batch_size", "nominal", "num_images", "images"),
    [
        (64, 64, 65, [33, 32]),
        (64, 64, 129, [43, 43, 43]),
        (64, 64, 96, [48, 48]),
        (11, 11, 122, [11, 10, 10, 10, 10, 10, 11, 10, 10, 10, 10, 10]),
        (16, 64, 145, [58, 44, 43]),
        (16, 64, 160, [64, 48, 48]),
        (64, 64, 7, [7]),
    ],
)
def test_the_images_of_an_epoch_are_shared_evenly_among_its_updates(
    batch_size: int, nominal: int, num_images: int, images: list[int]
) -> None:
    """One image that is left over must not move the weights as far as 64 do."""
    given = settings(batch_size=batch_size, nominal_batch=nominal, warmup_epochs=0)
    schedule = Schedule(given, num_images=num_images)
    found = [0]
    for batch in range(schedule.batches_per_epoch):
        found[-1] += schedule.images_in(batch)
        if schedule.at(batch).is_update:
            found.append(0)
    assert found[:-1] == images


@pytest.mark.parametrize("num_images", [65, 66, 127, 130, 1000, 1025, 118287])
def test_no_image_weighs_twice_as_much_as_another(num_images: int) -> None:
    schedule = Schedule(settings(batch_size=16, nominal_batch=64, epochs=300), num_images=num_images)
    scales = [schedule.at(schedule.total_steps - 1 - step).loss_scale for step in range(schedule.batches_per_epoch)]
    assert max(scales) < 1.8 * min(scales)


@pytest.mark.parametrize(("batch_size", "factor"), [(16, 1.0), (40, 1.25), (128, 2.0)])
def test_weight_decay_is_scaled_to_the_images_of_an_update(batch_size: int, factor: float) -> None:
    schedule = Schedule(settings(batch_size=batch_size, epochs=300), num_images=118287)
    assert schedule.weight_decay == pytest.approx(0.0005 * factor)


@pytest.mark.parametrize(
    ("given", "num_images"),
    [
        ({}, 205),
        ({"nominal_batch": 64}, 205),
        ({"batch_size": 128, "epochs": 300}, 118287),
        ({"quad": True, "nominal_batch": 64}, 205),
        ({"quad": True, "batch_size": 128, "nominal_batch": 160}, 1001),
    ],
)
def test_every_update_is_equally_strong_however_few_images_it_has(given: dict[str, object], num_images: int) -> None:
    schedule = Schedule(settings(**given), num_images=num_images)
    strength = 0.0
    for step in range(3 * schedule.batches_per_epoch):
        batch = step % schedule.batches_per_epoch
        plan = schedule.at(step)
        strength += plan.loss_scale * schedule.samples_in(batch)
        if plan.is_update:
            assert strength == pytest.approx(max(64, schedule.batch_size * schedule.accumulate))
            strength = 0.0


@pytest.mark.parametrize(("num_images", "batch_size"), [(205, 16), (10, 16), (3, 16), (1001, 128), (9, 4)])
def test_batches_of_quad_show_every_image_in_fewer_images(num_images: int, batch_size: int) -> None:
    schedule = Schedule(settings(quad=True, batch_size=batch_size), num_images)
    order = EpochOrder(0, num_images, batch_size, 1, quad=True)
    batches = list(order)
    assert len(batches) == schedule.batches_per_epoch
    for number, batch in enumerate(batches):
        assert schedule.samples_in(number) == len(batch)
        assert schedule.images_in(number) == sum(len(place) for place in batch)


@pytest.mark.parametrize(("nominal", "accumulate"), [(10, 1), (20, 2), (64, 6), (0, 1)])
def test_images_per_update_are_counted_in_images_under_quad(nominal: int, accumulate: int) -> None:
    assert Schedule(settings(quad=True, nominal_batch=nominal), 205).accumulate == accumulate
