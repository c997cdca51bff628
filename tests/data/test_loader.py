"""Loader processes: the same batches for any number of them, plain errors, a clean end."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from synthetic_index import write_jpegs

from onelook.data import loader
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.dataset import Arrangement, TrainDataset, ValidationDataset
from onelook.data.image_weights import ImageWeights
from onelook.data.loader import Batches, choose_workers, train_loader, validation_loader
from onelook.data.planned import PlannedDataset
from onelook.data.sampler import EpochOrder
from onelook.data.shared_segments import SLOTS
from onelook.errors import DataError, OnelookError
from onelook.settings.hyperparameters import Hyperparameters
from onelook.structures.batch import Batch
from onelook.structures.dataset_index import DatasetIndex

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SIZES = [(48, 64), (64, 48), (64, 64), (30, 64), (64, 50), (40, 64), (64, 64)]


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    return write_jpegs(tmp_path / "images", SIZES)


def run_of(
    index: DatasetIndex,
    workers: int,
    *,
    start: tuple[int, int] = (0, 0),
    method: str | None = None,
    share: tuple[int, int] = (0, 1),
) -> Batches:
    dataset = TrainDataset(index, Hyperparameters(mixup=0.3), imgsz=64, seed=4)
    order = EpochOrder(4, 7, 3, 3, start_epoch=start[0], start_batch=start[1], rank=share[0], world_size=share[1])
    return train_loader(dataset, order, workers=workers, start_method=method)


def digests(batches: Iterable[Batch]) -> list[str]:
    return [
        hashlib.sha256(
            batch.images.numpy().tobytes()
            + batch.targets.boxes.numpy().tobytes()
            + batch.targets.class_ids.numpy().tobytes()
            + batch.targets.image_index.numpy().tobytes()
            + repr(batch.infos).encode()
        ).hexdigest()
        for batch in batches
    ]


def children() -> set[int]:
    """Processes started by this one, as Linux tells."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in path.read_text().split()} if path.is_file() else set()


def is_running(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.is_file() and path.read_text().split()[2] != "Z"


@pytest.mark.parametrize("workers", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))])
def test_batches_are_bitwise_equal_for_any_number_of_workers(index: DatasetIndex, workers: int) -> None:
    alone = digests(run_of(index, 0))
    assert len(alone) == len(set(alone)) == 9
    assert digests(run_of(index, workers)) == alone


@pytest.mark.skipif(sys.platform != "linux", reason="only there is memory reused")
@pytest.mark.parametrize("is_rendered", [False, True])
def test_workers_use_memory_again_that_no_batch_needs(index: DatasetIndex, is_rendered: bool) -> None:
    dataset = TrainDataset(index, Hyperparameters(mixup=0.3), imgsz=64, seed=4)
    batches = train_loader(PlannedDataset(dataset) if is_rendered else dataset, EpochOrder(4, 6, 3, 10), workers=1)
    segments, workers, before = [], set(), children()
    for batch in batches:
        segments.append(segment_of(batch.pixels))
        assert is_rendered or batch.images.is_contiguous(memory_format=torch.channels_last)
        workers |= children() - before
    assert len(segments) == 20 and 1 < len(set(segments)) <= (10 if is_rendered else SLOTS)
    (worker,) = workers
    assert not [path for path in Path("/dev/shm").iterdir() if f"_{worker}_" in path.name], "memory has no name"


def test_batches_that_are_kept_stay_as_they_are(index: DatasetIndex) -> None:
    kept = list(run_of(index, 1))
    assert len(kept) > 2 * SLOTS
    assert digests(kept) == digests(run_of(index, 0))


@pytest.mark.gpu
def test_batches_are_bitwise_equal_in_page_locked_memory(index: DatasetIndex) -> None:
    dataset = TrainDataset(index, Hyperparameters(mixup=0.3), imgsz=64, seed=4)
    batches = train_loader(dataset, EpochOrder(4, 7, 3, 3), workers=2, pin_memory=True)
    assert digests(batches) == digests(run_of(index, 0))


def segment_of(tensor: torch.Tensor) -> int:
    """Number of the file behind the shared memory of a tensor."""
    descriptor, _ = tensor.untyped_storage()._share_fd_cpu_()
    return os.fstat(descriptor).st_ino


@pytest.mark.slow
def test_batches_are_bitwise_equal_for_spawned_workers(index: DatasetIndex) -> None:
    assert digests(run_of(index, 2, method="spawn")) == digests(run_of(index, 0))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_resumes_from_any_batch_with_the_same_batches(index: DatasetIndex, workers: int) -> None:
    assert digests(run_of(index, workers, start=(1, 2))) == digests(run_of(index, 0))[5:]


@pytest.mark.parametrize(
    ("world_size", "workers"),
    [(2, 0), (3, 2), (5, 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(2, 2), (3, 0), (5, 2)])],
)
def test_shares_of_many_processes_make_the_batches_of_one(index: DatasetIndex, workers: int, world_size: int) -> None:
    whole = list(run_of(index, 0))
    shares = [list(run_of(index, workers, share=(rank, world_size))) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part.targets.boxes for part in parts]), batch.targets.boxes)
        assert sum((part.infos for part in parts), ()) == batch.infos


@pytest.mark.parametrize("workers", [0, 1])
def test_a_share_may_be_empty(index: DatasetIndex, workers: int) -> None:
    batch = list(run_of(index, workers, share=(0, 5)))[2]
    assert batch.images.shape == (0, 3, 64, 64) and batch.images.dtype == torch.uint8 and batch.infos == ()
    assert batch.targets.boxes.shape == (0, 4) and len(batch.targets) == 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [(0, 0), (1, 1)])
def test_an_epoch_of_drawn_images_knows_what_the_one_before_has_led_to(
    index: DatasetIndex, workers: int, start: tuple[int, int]
) -> None:
    arrangement = Arrangement(weights=ImageWeights(index, num_classes=2, seed=4))
    dataset = TrainDataset(index, Hyperparameters(mosaic=0), imgsz=64, seed=4, arrangement=arrangement)
    class_ap: list[float] = []
    order = EpochOrder(4, 7, 3, 3, start_epoch=start[0], start_batch=start[1], class_ap=lambda: class_ap)
    found = []
    before = children()
    running = set()
    for number, batch in enumerate(train_loader(dataset, order, workers=workers), start=3 * start[0] + start[1]):
        found += [info.index for info in batch.infos]
        running.add(frozenset(children() - before))
        class_ap[:] = [number / 9, 0.5]  # as a validation after this batch would
    expected = []
    for epoch, ap in enumerate([(), (2 / 9, 0.5), (5 / 9, 0.5)]):
        if epoch == start[0] and start != (0, 0):
            ap = ()
        drawn = arrangement.weights.draw(epoch, ap) if arrangement.weights else []
        rng = generator(SampleKey(4, epoch, 0), Purpose.ORDER)
        expected += [drawn[slot] for slot in rng.permutation(7)]
    assert found == expected[7 * start[0] + 3 * start[1] :]
    assert len(running) == 1, "the same workers for all epochs"


def test_loading_leaves_the_global_random_numbers_alone(index: DatasetIndex) -> None:
    before = torch.get_rng_state()
    list(run_of(index, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_start_though_opencv_has_used_its_own_threads(index: DatasetIndex) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)  # starts them
        assert len(list(run_of(index, 2))) == 9
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_of_workers_arrive_as_they_were_raised(index: DatasetIndex, workers: int) -> None:
    Path(index.paths[5]).unlink()
    with pytest.raises(DataError) as caught:
        list(run_of(index, workers))
    assert "005.jpg" in caught.value.message
    assert "Traceback" not in str(caught.value)


def test_closing_ends_the_workers(index: DatasetIndex) -> None:
    before = children()
    batches = run_of(index, 2)
    next(batches)
    assert len(children() - before) >= 2 or not before | children()
    batches.close()
    deadline = time.monotonic() + 300
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not children() - before


@pytest.mark.slow  # noticed within 5 seconds
def test_a_killed_worker_is_an_error_with_a_hint(index: DatasetIndex) -> None:
    before = children()
    batches = run_of(index, 1)
    next(batches)
    (worker,) = children() - before
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(OnelookError, match="a process that loads images has ended") as caught:
        list(batches)
    assert "--workers" in (caught.value.hint or "")


def test_workers_leave_signals_of_the_terminal_to_their_parent(index: DatasetIndex) -> None:
    before = children()
    batches = run_of(index, 1)
    next(batches)
    for worker in children() - before:
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    assert len(list(batches)) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="the system call is Linux's")
def test_workers_die_with_a_parent_that_is_killed(index: DatasetIndex) -> None:
    reader, writer = os.pipe()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # a fork of this process must not have them
    parent = os.fork()
    if parent == 0:
        try:
            batches = run_of(index, 2)
            next(batches)
            next(batches)  # now both of them have begun
            for worker in children():
                os.kill(worker, signal.SIGSTOP)  # torch's own watchdog, which takes 5 seconds, is not to be the one
            os.write(writer, " ".join(map(str, children())).encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writer)
    workers = [int(pid) for pid in os.read(reader, 100).split()]
    os.close(reader)
    os.waitpid(parent, 0)
    cv2.setNumThreads(threads)
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    left = [pid for pid in workers if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(workers) == 2 and left == []


@pytest.mark.parametrize("workers", [0, 1])
def test_validation_gives_every_image_once_in_a_fixed_order(index: DatasetIndex, workers: int) -> None:
    dataset = ValidationDataset(index, imgsz=64, batch_size=3)
    batches = list(validation_loader(dataset, workers=workers))
    order = [info.index for batch in batches for info in batch.infos]
    assert order == dataset.rectangles.order.tolist()
    assert [len(batch.infos) for batch in batches] == [3, 1, 3], "the images of a batch have one frame"


@pytest.mark.parametrize(
    ("requested", "batch_size", "device_type", "processors", "expected"),
    [
        (8, 16, "cuda", 16, 8),
        (8, 16, "cuda", 4, 3),
        (8, 16, "cuda", 1, 1),
        (8, 2, "cuda", 16, 2),
        (8, 1, "cuda", 16, 0),
        (0, 16, "cuda", 16, 0),
        (8, 16, "cpu", 2, 1),
        (8, 16, "cpu", 64, 1),
    ],
)
def test_no_more_workers_than_processors_to_spare(
    requested: int, batch_size: int, device_type: str, processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "available_processors", lambda: processors)
    assert choose_workers(requested, batch_size, device_type=device_type) == expected


@pytest.mark.parametrize(("processors", "world_size", "expected"), [(16, 2, 7), (16, 4, 3), (2, 4, 1)])
def test_processes_that_train_together_share_the_processors(
    processors: int, world_size: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "available_processors", lambda: processors)
    assert choose_workers(8, 64, device_type="cuda", world_size=world_size) == expected
    assert choose_workers(8, world_size, device_type="cuda", world_size=world_size) == 0, "one image each"
    machines = choose_workers(8, 64, device_type="cuda", world_size=2 * world_size, processes_here=world_size)
    assert machines == expected, "another machine has processors of its own"
