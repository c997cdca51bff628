"""Going through many things: in order, told of, stopped soon."""

from __future__ import annotations

import pytest

from onelook.data.work import Work, each
from onelook.errors import DataError, StopRequested


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
