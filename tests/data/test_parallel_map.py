"""Going through many things: in order, with progress, stopped soon."""

from __future__ import annotations

import os
import signal

import pytest

from onelook.data.parallel_map import Work, each, in_chunks
from onelook.errors import DataError, OnelookError, StopRequested


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_keep_the_order_and_progress_ends_with_all(workers: int) -> None:
    told: list[tuple[int, int]] = []
    work = Work(workers, progress=lambda done, total: told.append((done, total)))
    assert list(each(lambda number: number**2, range(100), work, name="it")) == [number**2 for number in range(100)]
    assert told[-1] == (100, 100) and len(told) > 3 and told == sorted(told)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stop_is_obeyed_soon(workers: int) -> None:
    asked, done = [], []
    work = Work(workers, stop_requested=lambda: len(asked) > 2 or asked.append(1) is not None)
    with pytest.raises(StopRequested, match="the counting was stopped"):
        for result in each(lambda number: number, range(10_000), work, name="the counting"):
            done.append(result)
    assert done == list(range(len(done))) and 0 < len(done) < 100


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_ends_the_work_without_doing_the_rest(workers: int) -> None:
    done: set[int] = set()

    def do(number: int) -> None:
        if number == 40:
            raise DataError("image 40 is gone")
        done.add(number)

    with pytest.raises(DataError, match="image 40 is gone"):
        list(each(do, range(10_000), Work(workers), name="it"))
    assert len(done) < 1_000


@pytest.mark.parametrize("use_processes", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 16, 5000])
def test_chunks_come_in_order_and_leave_nothing_out(use_processes: bool, workers: int, count: int) -> None:
    told: list[tuple[int, int]] = []
    work = Work(workers, progress=lambda done, total: told.append((done, total)))
    chunks = list(in_chunks(list, count, work, name="it", use_processes=use_processes))
    assert [number for chunk in chunks for number in chunk] == list(range(count))
    assert told[-1:] == ([(count, count)] if count else []) and told == sorted(told)


def test_forked_processes_know_what_this_one_knows_and_work_beside_it() -> None:
    known = {"offset": 7}
    chunks = in_chunks(lambda n: (n.start + known["offset"], os.getpid()), 2000, Work(2), name="it", use_processes=True)
    found = list(chunks)
    assert [value - 7 for value, _ in found] == sorted(value - 7 for value, _ in found)
    assert os.getpid() not in {process for _, process in found}


def test_a_process_that_is_killed_ends_the_work_with_a_cure() -> None:
    def do(numbers: range) -> None:
        if 1000 in numbers:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OnelookError, match="a process of the counting has ended") as caught:
        list(in_chunks(do, 5000, Work(2), name="the counting", use_processes=True))
    assert "fewer --workers" in str(caught.value.hint)


def test_processes_obey_a_stop() -> None:
    seen: list[range] = []
    work = Work(2, stop_requested=lambda: len(seen) > 2)
    with pytest.raises(StopRequested):
        for chunk in in_chunks(lambda numbers: numbers, 100_000, work, name="it", use_processes=True):
            seen.append(chunk)
    assert len(seen) == 3
