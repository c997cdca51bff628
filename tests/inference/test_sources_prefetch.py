"""Working ahead and behind: order is kept, errors travel, nothing is lost at an early end, no thread is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from onelook.errors import DataError
from onelook.inference.sources.prefetch import ahead_in_threads, batches_of, behind, one_ahead


def numbers_then_an_error(count: int) -> Iterator[int]:
    yield from range(count)
    raise DataError("the end")


def our_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("onelook-")]


def test_batches_hold_all_items() -> None:
    assert list(batches_of(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches_of([], 2)) == []


def test_items_made_ahead_are_the_same_and_errors_get_through() -> None:
    made = one_ahead(numbers_then_an_error(5))
    assert [next(made) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="the end"):
        next(made)


def test_leaving_early_leaves_no_thread_behind() -> None:
    for made in (one_ahead(iter(range(1000))), ahead_in_threads(str, range(1000), threads=3, ahead=4)):
        next(made)
        made.close()  # type: ignore[attr-defined]
        assert not our_threads()


def test_what_threads_make_ahead_comes_in_order() -> None:
    gates = [threading.Event() for _ in range(6)]
    gates[5].set()

    def slow_first(number: int) -> int:
        """The earlier, the later done: each waits for the one after it."""
        if number < 5:
            assert gates[number + 1].wait(10)
        gates[number].set()
        return -number

    made = ahead_in_threads(slow_first, range(6), threads=6, ahead=5)
    assert [(item, future.result()) for item, future in made] == [(n, -n) for n in range(6)]


def test_no_more_is_begun_ahead_than_allowed() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    made = ahead_in_threads(str, items(), threads=2, ahead=3)
    for taken in range(1, 5):
        next(made)
        assert len(begun) == taken + 3
    made.close()  # type: ignore[attr-defined]


def test_what_is_done_behind_comes_in_order_while_the_next_is_made() -> None:
    second_made, seen = threading.Event(), []

    def items() -> Iterator[int]:
        yield 0
        second_made.set()
        yield from (1, 2)

    def do(number: int) -> int:
        assert second_made.wait(10), "the first is only done when the second is made"
        seen.append(number)
        return number * 10

    assert list(behind(do, items(), waiting=2)) == [0, 10, 20] and seen == [0, 1, 2]
    assert not our_threads()


def test_whatever_ends_the_items_all_that_came_before_is_done() -> None:
    seen: list[int] = []
    done = behind(seen.append, numbers_then_an_error(3), waiting=10)
    with pytest.raises(DataError, match="the end"):
        list(done)
    assert seen == [0, 1, 2]


def test_an_error_behind_is_raised_where_the_results_are_asked_for() -> None:
    def do(number: int) -> None:
        raise DataError(f"not {number}")

    with pytest.raises(DataError, match="not 0"):
        list(behind(do, range(3), waiting=1))
    assert not our_threads()


def test_no_more_waits_than_allowed() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    done = behind(lambda number: max(made), items(), waiting=2)
    assert all(newest - number <= 3 for number, newest in enumerate(done))
