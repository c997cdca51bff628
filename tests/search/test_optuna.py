"""The search by Optuna: keyed, pruned, shared between processes, and safe in its storage."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import optuna
import pytest
from forked_ranks import fork
from optuna.trial import TrialState
from search_landscape import PEAK, START, Hill, plan

from onelook.errors import RunFolderError, SettingsError
from onelook.runs.run_dir import RunDir
from onelook.runs.run_status import new_run
from onelook.search.folder import SearchFolder
from onelook.search.genes import GENES, in_range
from onelook.search.history import Row, write_history
from onelook.search.plan import Plan
from onelook.search.sampler import FOREIGN, SLOT, free_slot
from onelook.search.search import GeneticSearch, Search, Trial, TrialScore
from onelook.search.storage import open_storage
from onelook.search.study import OptunaSearch

NOWHERE = SearchFolder(Path("nowhere"))
IDENTITY = {"epochs": 16, "data": "bees"}


def search_in(storage: str, what: Plan, **identity: object) -> OptunaSearch:
    return OptunaSearch(what, open_storage(storage), name="bees", folder=NOWHERE, identity={**IDENTITY, **identity})


def run(search: Search, objective: Hill) -> list[Row]:
    while search.step(objective) is not None:
        pass
    return search.rows()


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "study.journal")


@pytest.fixture(scope="module")
def whole() -> list[Row]:
    """A search of 14 trials, never interrupted."""
    return run(
        OptunaSearch(plan(14), optuna.storages.InMemoryStorage(), name="bees", folder=NOWHERE, identity=IDENTITY),
        Hill(),
    )


def test_search_begins_with_the_start_and_the_population(journal: str) -> None:
    other = in_range({**START, "cls": 3.0})
    rows = run(search_in(journal, plan(3, others=(other,))), Hill())
    assert [row.genes for row in rows[:2]] == [START, other]
    assert [row.generation for row in rows] == [0, 1, 2]


def test_bad_trials_end_early_and_good_ones_do_not(whole: list[Row]) -> None:
    states = Counter(row.state for row in whole)
    assert states["pruned"] >= 5 and states["complete"] >= 2
    best = max(whole, key=lambda row: row.fitness)
    assert best.state == "complete" and best.epochs == 16
    assert all(2 <= row.epochs < 16 for row in whole if row.state == "pruned")  # the first is warm-up


def test_values_stay_in_range_and_what_has_no_gain_stays_as_it_is(whole: list[Row]) -> None:
    for row in whole:
        assert row.genes == in_range(row.genes) and list(row.genes) == list(START)
        assert row.genes["fliplr"] == START["fliplr"]
    for name in START:
        assert (len({row.genes[name] for row in whole}) > 1) == bool(GENES[name].gain)


@pytest.mark.parametrize("at", [0, 1, 6, 13])
def test_search_interrupted_at_any_trial_goes_on_to_the_same_bits(at: int, whole: list[Row], journal: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(search_in(journal, plan(14)), Hill(interrupted_at=at))
    assert write_history(run(search_in(journal, plan(14)), Hill())) == write_history(whole)


def test_search_resumes_with_more_trials_as_if_they_had_been_asked_for(whole: list[Row], journal: str) -> None:
    run(search_in(journal, plan(5)), Hill())
    assert search_in(journal, plan(5)).step(Hill()) is None
    assert run(search_in(journal, plan(14)), Hill()) == whole


def test_nothing_is_tried_twice(whole: list[Row]) -> None:
    """Not even on a short way to the end of a range, which many mutations would take."""
    assert len({tuple(row.genes.values()) for row in whole}) == len(whole)
    corner = in_range({"lr0": 0.1, "fliplr": 0.5})
    search = OptunaSearch(
        Plan(8, 0, 16, (corner,)), optuna.storages.InMemoryStorage(), name="corner", folder=NOWHERE, identity={}
    )

    def flat(trial: Trial) -> TrialScore:
        return TrialScore(0.5, epochs=16, state="complete")

    rates = [row.genes["lr0"] for row in iter(lambda: search.step(flat), None)]
    assert len(set(rates)) == 8


def test_other_seed_other_search(whole: list[Row], journal: str) -> None:
    rows = run(search_in(journal, plan(3, seed=1)), Hill())
    assert rows[0].genes == START and rows[1].genes != whole[1].genes


def test_failed_trial_is_worth_nothing_and_noted(journal: str) -> None:
    def fails_later(trial: Trial) -> TrialScore:
        return Hill()(trial) if trial.number == 0 else TrialScore(note="MemoryError", epochs=2)

    search = search_in(journal, plan(3))
    while search.step(fails_later) is not None:
        pass
    assert [(row.state, row.fitness, row.epochs, row.note) for row in search.rows()[1:]] == [
        ("failed", 0.0, 2, "MemoryError")
    ] * 2


def test_trial_of_a_dead_process_is_done_again(journal: str) -> None:
    """A process that is killed leaves its trial as under way."""
    run(search_in(journal, plan(2)), Hill())
    study = optuna.load_study(study_name="bees", storage=open_storage(journal))
    trial = study.ask()
    process = subprocess.run([sys.executable, "-c", "import os, platform; print(os.getpid(), platform.node())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    pid, host = process.stdout.split()
    for name, value in (("owner", {"pid": int(pid), "host": host}), (SLOT, 2)):
        trial.set_user_attr(name, value)
    rows = run(search_in(journal, plan(3)), Hill())
    assert [row.generation for row in rows] == [0, 1, 2]


def test_trial_of_a_living_process_is_left_alone(journal: str) -> None:
    first, second = search_in(journal, plan(3)), search_in(journal, plan(3))
    met: list[list[int]] = []

    def meanwhile(trial: Trial) -> TrialScore:
        met.append([row.generation for row in run(second, Hill())])
        return Hill()(trial)

    assert first.step(meanwhile) is not None  # type: ignore[arg-type]
    assert met == [[1, 2]]
    assert first.step(Hill()) is None
    assert [row.generation for row in first.rows()] == [0, 1, 2] == [row.generation for row in second.rows()]


def test_slots_are_those_that_are_free_in_the_order_of_the_trials() -> None:
    def trial(number: int, slot: int | None, state: TrialState = TrialState.RUNNING) -> optuna.trial.FrozenTrial:
        made = optuna.trial.create_trial(state=state, user_attrs={} if slot is None else {SLOT: slot})
        made.number = number
        return made

    assert free_slot([trial(0, 0), trial(1, 1)], 2) == 2
    assert free_slot([trial(0, 0, TrialState.FAIL), trial(1, 1)], 2) == 0
    assert free_slot([trial(0, 0), trial(1, None), trial(2, None), trial(3, None)], 2) == 2
    assert free_slot([trial(0, 0), trial(1, None), trial(2, None), trial(3, None)], 3) == 3


def test_study_of_other_settings_is_refused(journal: str) -> None:
    search_in(journal, plan(1))
    with pytest.raises(SettingsError, match="study `bees` searches with `data` 'bees', not 'wasps'") as caught:
        search_in(journal, plan(1), data="wasps")
    assert "another `--name`" in str(caught.value)
    with pytest.raises(SettingsError, match="and 1 more differ"):
        search_in(journal, plan(1), data="wasps", epochs=3)


def test_trials_of_other_searches_are_known_but_not_counted(journal: str) -> None:
    found = Row(4, 7, PEAK, (0.1,) * 7, 0.999, 16)
    hopeless = Row(5, 7, START, (0.1,) * 7, 0.0, 1, "pruned")
    search = search_in(journal, plan(3))
    search.learn([found, hopeless])
    search.learn([found])
    rows = run(search, Hill())
    assert [(row.seed, row.generation) for row in rows] == [(0, 0), (0, 1), (0, 2), (7, 4), (7, 5)]
    assert len(search_in(journal, plan(3)).rows()) == 3
    study = optuna.load_study(study_name="bees", storage=open_storage(journal))
    assert [trial.value for trial in study.trials if FOREIGN in trial.user_attrs] == [0.999]
    nearer = [sum(row.genes[name] == PEAK[name] for name in ("momentum", "hsv_s", "degrees")) for row in rows[1:3]]
    assert max(nearer) >= 1  # children of the best that is known


def test_process_that_comes_too_late_for_the_last_trial_does_none() -> None:
    class Busy(optuna.storages.InMemoryStorage):
        """Where another process takes a trial between our reading of the list and our entry in it."""

        other: OptunaSearch | None = None

        def create_new_trial(self, study_id: int, template_trial: optuna.trial.FrozenTrial | None = None) -> int:
            other, self.other = self.other, None
            if other is not None:
                other.step(Hill())
            return super().create_new_trial(study_id, template_trial)

    storage, hill = Busy(), Hill()
    first, second = (OptunaSearch(plan(1), storage, name="bees", folder=NOWHERE, identity={}) for _ in range(2))
    storage.other = second
    assert first.step(hill) is None and not hill.seen
    assert [row.generation for row in first.rows()] == [0]


@pytest.mark.parametrize("is_held", [True, False])
def test_trial_of_a_container_that_is_gone_is_done_again(is_held: bool, journal: str, tmp_path: Path) -> None:
    """Of a process on another host name nothing is known but whether it holds the run folder of its trial."""
    folder = SearchFolder(tmp_path)
    search = OptunaSearch(plan(1), open_storage(journal), name="bees", folder=folder, identity={})
    trial = search._study.ask(search._sampler.space)
    for name, value in (("owner", {"pid": 1, "host": "another-container"}), (SLOT, 0)):
        trial.set_user_attr(name, value)
    folder.trials.mkdir()
    run_folder = RunDir.create(folder.trials, "0000")
    with run_folder.lock() if is_held else nullcontext():
        run_folder.begin(new_run())
        again = OptunaSearch(plan(1), open_storage(journal), name="bees", folder=folder, identity={})
        assert (again.step(Hill()) is None) == is_held


def take_trials(journal: str, start: Barrier, counts: SimpleQueue[int]) -> None:
    """What one process does: trials until there are none, from the moment on when the other is there too."""
    search = OptunaSearch(plan(16), open_storage(journal), name="bees", folder=SearchFolder(Path("x")), identity={})
    start.wait()
    counts.put(sum(1 for _ in iter(lambda: search.step(Hill()), None)))


def test_two_processes_share_the_trials_of_one_storage(journal: str) -> None:
    context = multiprocessing.get_context("forkserver")
    start, counts = context.Barrier(2), context.SimpleQueue()
    both = [fork(take_trials, journal, start, counts) for _ in range(2)]
    for process in both:
        process.join()
    found = [counts.get() for process in both if process.exitcode == 0]
    rows = OptunaSearch(plan(16), open_storage(journal), name="bees", folder=NOWHERE, identity={}).rows()
    assert [row.generation for row in rows] == list(range(16))
    assert sum(found) == 16 and min(found) >= 1
    assert len({tuple(row.genes.values()) for row in rows}) >= 15


def test_storage_may_be_a_data_base(tmp_path: Path, whole: list[Row]) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    run(search_in(url, plan(2)), Hill())
    assert run(search_in(url, plan(3)), Hill()) == whole[:3]


def test_torn_last_line_of_the_journal_is_cut_off(journal: str, whole: list[Row]) -> None:
    run(search_in(journal, plan(3)), Hill())
    with Path(journal).open("ab") as file:
        file.write(b'{"op_code":4,"wor')
    assert run(search_in(journal, plan(14)), Hill()) == whole


@pytest.mark.parametrize("content", [b"what is this?\nnot a journal\n", b"[1, 2]\n[3]\n"])
def test_file_that_is_no_journal_is_refused(journal: str, content: bytes) -> None:
    Path(journal).write_bytes(content)
    with pytest.raises(RunFolderError, match="is not a journal of Optuna, or is damaged"):
        search_in(journal, plan(1))


def test_storage_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"storage `.*file/study` cannot be used"):
        open_storage(str(tmp_path / "file" / "study"))


@pytest.mark.parametrize("url", ["nodialect://bee:honey@hive/db", "sqlite:////nowhere/at/all.db"])
def test_data_base_that_cannot_be_reached_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match=r"database .* cannot be used") as caught:
        open_storage(url)
    assert "honey" not in str(caught.value)


def test_pruned_search_reaches_the_best_of_the_genetic_one_with_less_than_a_third_of_its_epochs() -> None:
    ratios = []
    for seed in range(3):
        genetic = GeneticSearch(plan(30, seed=seed))
        target = max(row.fitness for row in run(genetic, Hill()))  # type: ignore[arg-type]
        memory = optuna.storages.InMemoryStorage()
        search, epochs = OptunaSearch(plan(1000, seed=seed), memory, name="bees", folder=NOWHERE, identity={}), 0
        while epochs < 30 * 16:
            row = search.step(Hill())
            assert row is not None
            epochs += row.epochs
            if row.state == "complete" and row.fitness >= target:
                break
        ratios.append(epochs / (30 * 16))
    assert median(ratios) < 0.3, ratios
