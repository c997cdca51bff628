"""The reason why a run ends: the first one counts, and every kind of error arrives as it was raised."""

from __future__ import annotations

import time

import pytest
from torch.distributed import HashStore

from onelook.errors import DataError, NumericsError, OnelookError
from onelook.processes.failure_store import SECONDS_TO_WAIT, FailureStore, described, rebuilt


@pytest.mark.parametrize("kind", [OnelookError, *OnelookError.__subclasses__()])
@pytest.mark.parametrize("hint", [None, "do this"])
def test_an_error_arrives_in_another_process_as_it_was_raised(kind: type[OnelookError], hint: str | None) -> None:
    found = rebuilt(described(kind("file `ä.txt` is bad", hint=hint)))
    assert (type(found), found.message, found.hint, found.exit_code) == (
        kind, "file `ä.txt` is bad", hint, kind.exit_code,
    )  # fmt: skip
    assert found.is_told, "the process where it was raised tells the user"


def test_the_first_reason_counts() -> None:
    store = HashStore()
    first, second = FailureStore(0, store), FailureStore(1, store)
    assert second.give(DataError("gone"))
    assert not first.give(NumericsError("not finite"))
    assert second.give(DataError("gone")), "saying the same again is no second reason"
    found = first.given()
    assert isinstance(found, DataError) and found.message == "gone"


def test_who_ended_without_a_word_is_not_waited_for_long() -> None:
    begun = time.monotonic()
    assert FailureStore(0, HashStore()).given() is None
    assert SECONDS_TO_WAIT <= time.monotonic() - begun < SECONDS_TO_WAIT + 60


class Gone:
    """A store whose keeper has died."""

    def __getattr__(self, name: str) -> object:
        def fail(*_: object) -> None:
            raise RuntimeError("Broken pipe")

        return fail


def test_without_a_store_everyone_speaks_for_himself() -> None:
    assert FailureStore(1, Gone()).give(DataError("gone"))
    assert FailureStore(1, Gone()).given() is None
