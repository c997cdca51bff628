"""What processes tell each other: over a real process group, and in a group of one."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_ranks import Ranks, require_loopback, start_ranks

from onelook.errors import DataError, OnelookError, SettingsError, StopRequested
from onelook.processes import process_group as process
from onelook.processes.process_group import ProcessGroup, joined_group, reasons_given
from onelook.processes.stop_signal import StopSignal
from onelook.runs.checkpoint import Checkpoint

Answers = dict[str, Any]
SIZE = 3


def exchange_everything(group: ProcessGroup) -> Answers:
    """One of each exchange; what this process sees of it, as plain JSON."""
    rank = group.rank
    total = torch.tensor([1.5, rank])
    group.add_up(total)()
    kept = torch.full((2, 3), float(rank)).to(memory_format=torch.contiguous_format).t()
    group.copy_from_first([kept])
    tensors = {"a": torch.tensor([[1, 2]]), "half": torch.ones(2, dtype=torch.float16), "none": torch.zeros(0, 4)}
    shared = group.share_tensors(tensors if rank == 0 else {})
    checkpoint = group.share_checkpoint(lambda: Checkpoint({"w": torch.tensor([3.0])}, {"kind": "x"}))
    order: list[int] = []
    found = group.first_then_others(lambda: order.append(rank) or rank)  # type: ignore[func-returns-value]
    return {
        "add_up": total.tolist(),
        "gather": [tensor.tolist() for tensor in group.gather(torch.tensor([rank, 7]))],
        "gather_rows": [rows.tolist() for rows in group.gather_rows(torch.full((rank, 2), rank))],
        "gather no rows": [rows.tolist() for rows in group.gather_rows(torch.zeros(0, 2))],
        "gather_values": group.gather_values({"rank": rank, "text": "ä" * rank}),
        "share": group.share(["first", None, 1.5] if rank == 0 else rank),
        "share_tensors": {name: (str(tensor.dtype), tensor.tolist()) for name, tensor in shared.items()},
        "share_checkpoint": [checkpoint.document, checkpoint.tensors["w"].tolist()],
        "copy_from_first": kept.tolist(),
        "any": [group.any(False), group.any(rank == 2), group.any(True)],
        "first": group.first(lambda: [rank, "value"]),
        "first_then_others": [found, order],
        "together": group.together(lambda: rank * 10),
    }


def fail_in(group: ProcessGroup) -> Answers:
    """Errors of one process and of all, where they are raised: kind, message, hint, and whether somebody has told."""

    def fail(ranks: tuple[int, ...]) -> Callable[[], int]:
        def action() -> int:
            if group.rank in ranks:
                raise DataError(f"bad file in {group.rank}", hint="mend it")
            return group.rank

        return action

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OnelookError as problem:
            return [type(problem).__name__, problem.message, problem.hint, problem.is_told]

    return {
        "first": outcome(lambda: group.first(fail((0,)))),
        "first, another": outcome(lambda: group.first(fail((1,)))),
        "first_then_others": outcome(lambda: group.first_then_others(fail((0,)))),
        "first_then_others, later": outcome(lambda: group.first_then_others(fail((2,)))),
        "together": outcome(lambda: group.together(fail((1, 2)))),
        "still in step": group.gather_values(group.rank),
    }


def stop_one(group: ProcessGroup) -> Answers:
    """A signal reaches process 1 alone."""
    with StopSignal() as stop:
        group.check(stop)
        if group.rank == 1:
            signal.raise_signal(signal.SIGUSR1)
        try:
            group.check(stop)
        except StopRequested as problem:
            return {"message": problem.message, "asked": stop.requested}
    return {}


def answer(work: Callable[[ProcessGroup], Answers], folder: Path) -> int:
    with joined_group() as group:
        found = work(group)
        (folder / f"{group.rank}.json").write_text(json.dumps(found))
        group.leave_together()
    return 0


def everywhere(work: Callable[[ProcessGroup], Answers], folder: Path, size: int = SIZE) -> list[Answers]:
    """What `work` gives in each process."""
    ranks = start_ranks(answer, size, folder, arguments=(work, folder))
    assert ranks.join() == [0] * size, ranks.everything_said
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


@pytest.fixture(autouse=True)
def loopback() -> None:
    require_loopback()


def test_every_exchange_gives_all_processes_the_same(tmp_path: Path) -> None:
    found = everywhere(exchange_everything, tmp_path)
    for rank, mine in enumerate(found):
        assert mine.pop("first_then_others") == [rank, [rank]], "each does it itself"
        assert mine.pop("together") == 10 * rank
        assert mine == {
            "add_up": [4.5, 3.0],
            "gather": [[0, 7], [1, 7], [2, 7]],
            "gather_rows": [[], [[1, 1]], [[2, 2], [2, 2]]],
            "gather no rows": [[], [], []],
            "gather_values": [{"rank": 0, "text": ""}, {"rank": 1, "text": "ä"}, {"rank": 2, "text": "ää"}],
            "share": ["first", None, 1.5],
            "share_tensors": {
                "a": ["torch.int64", [[1, 2]]],
                "half": ["torch.float16", [1.0, 1.0]],
                "none": ["torch.float32", []],
            },
            "share_checkpoint": [{"kind": "x"}, [3.0]],
            "copy_from_first": [[0.0, 0.0]] * 3,
            "any": [False, True, True],
            "first": [0, "value"],
        }


def test_a_group_of_one_gives_back_what_was_put_in() -> None:
    found = exchange_everything(ProcessGroup())
    assert found == {
        "add_up": [1.5, 0.0],
        "gather": [[0, 7]],
        "gather_rows": [[]],
        "gather no rows": [[]],
        "gather_values": [{"rank": 0, "text": ""}],
        "share": ["first", None, 1.5],
        "share_tensors": {
            "a": ("torch.int64", [[1, 2]]),
            "half": ("torch.float16", [1.0, 1.0]),
            "none": ("torch.float32", []),
        },
        "share_checkpoint": [{"kind": "x"}, [3.0]],
        "copy_from_first": [[0.0, 0.0]] * 3,
        "any": [False, False, True],
        "first": [0, "value"],
        "first_then_others": [0, [0]],
        "together": 0,
    }


def test_an_error_in_one_process_is_the_same_error_in_all_and_told_by_one(tmp_path: Path) -> None:
    found = everywhere(fail_in, tmp_path)
    bad = [["DataError", f"bad file in {rank}", "mend it"] for rank in range(SIZE)]
    assert [mine["first"] for mine in found] == [[*bad[0], False], [*bad[0], True], [*bad[0], True]]
    assert [mine["first, another"] for mine in found] == [0, 0, 0], "only process 0 does it"
    assert [mine["first_then_others"] for mine in found] == [[*bad[0], False], [*bad[0], True], [*bad[0], True]]
    assert [mine["first_then_others, later"] for mine in found] == [[*bad[2], True], [*bad[2], True], [*bad[2], False]]
    assert [mine["together"] for mine in found] == [[*bad[1], True], [*bad[1], False], [*bad[2], False]]
    assert all(mine["still in step"] == [0, 1, 2] for mine in found)


def test_a_signal_to_one_process_stops_all_and_is_named(tmp_path: Path) -> None:
    found = everywhere(stop_one, tmp_path)
    assert found == [{"message": "stopped on request of SIGUSR1", "asked": True}] * SIZE


def die_or_wait(folder: Path, reason: str) -> int:
    """Process 1 ends, with or without a word, while the others wait for it."""
    with joined_group() as group:
        group.gather_values(0)
        try:
            with reasons_given(group):
                if group.rank == 1:
                    if reason == "killed":
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise DataError("no such file") if reason == "error" else ZeroDivisionError("by zero")
                group.gather_values(1)
        except OnelookError as problem:
            (folder / f"{group.rank}.json").write_text(
                json.dumps([type(problem).__name__, problem.message, problem.is_told])
            )
            return problem.exit_code
        except ZeroDivisionError:
            return 99
    return 0


@pytest.mark.parametrize(
    ("reason", "codes", "kind", "message"),
    [
        ("error", [65, 65, 65], "DataError", "no such file"),
        ("bug", [70, 99, 70], "ProcessGroupError", "process 1 failed with ZeroDivisionError: by zero"),
        ("killed", [70, -9, 70], "ProcessGroupError", "lost contact with another process of the run"),
    ],
)
def test_who_waits_for_a_process_that_ends_learns_why(
    tmp_path: Path, reason: str, codes: list[int], kind: str, message: str
) -> None:
    ranks = start_ranks(die_or_wait, SIZE, tmp_path, arguments=(tmp_path, reason))
    assert ranks.join() == codes, ranks.everything_said
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 2)]
    assert all(mine[0] == kind and message in mine[1] for mine in found)
    told = [mine[2] for mine in found]
    assert told == [True, True] if reason != "killed" else sorted(told) == [False, True], "exactly one speaks"


def take_a_number() -> int:
    """Process 0 comes late: until then, the others find what is in the store."""
    time.sleep(0.5 if os.environ["RANK"] == "0" else 0.0)
    with joined_group() as group:
        group.gather_values(group.rank)
    return 0


def test_a_second_attempt_finds_its_own_addresses_in_a_store_that_was_kept(tmp_path: Path) -> None:
    """A launcher may keep one store over all restarts; what died before has left its addresses there."""
    first = start_ranks(die_or_wait, 2, tmp_path / "0", arguments=(tmp_path, "killed"))
    first.join()
    second: Ranks = start_ranks(
        take_a_number,
        2,
        tmp_path / "1",
        environment={"TORCHELASTIC_RESTART_COUNT": "1"},
        store=first.store,
    )
    assert second.join() == [0, 0], second.everything_said


def wait_for_one_that_does_not_come(number: int) -> int:
    """Process `number` is told to stop while it waits; the other one does not even begin."""
    if os.environ["RANK"] != str(number):
        return 0
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGUSR1)
            with joined_group(stop):
                return 99
    except StopRequested as problem:
        sys.stdout.write(f"{problem.message} {problem.is_told}\n")
        return problem.exit_code


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_waits_for_the_others_to_come_can_be_stopped(number: int, tmp_path: Path) -> None:
    ranks = start_ranks(wait_for_one_that_does_not_come, 2, tmp_path, arguments=(number,))
    assert ranks.join()[number] == 75, ranks.everything_said
    assert ranks.said(number) == f"stopped on request of SIGUSR1 {number == 1}\n", "process 0 speaks"


def test_others_that_do_not_come_are_not_waited_for_for_ever(tmp_path: Path) -> None:
    ranks = start_ranks(come_alone, 2, tmp_path)
    assert ranks.join() == [70, 0], ranks.everything_said
    assert "only 1 of the 2 processes of the run have come within 0.01 minutes" in ranks.said(0)


def come_alone() -> int:
    if os.environ["RANK"] == "1":
        return 0
    process.SECONDS_TO_COME = 0.6
    try:
        with joined_group():
            return 99
    except OnelookError as problem:
        sys.stdout.write(problem.message)
        return problem.exit_code


@pytest.mark.parametrize("missing", ["LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_half_of_a_launchers_environment_is_refused(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(SettingsError, match=rf"but not {missing}: this looks like half") as caught, joined_group():
        pass
    assert caught.value.hint == "start with `torchrun`, or unset RANK and WORLD_SIZE"


def test_without_a_launcher_there_is_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined_group() as group:
        assert (group.rank, group.world_size, group.is_first) == (0, 1, True)
        group.beat("here")
        group.rest()
        group.leave_together()
        assert group.give_reason(DataError("x"))
