"""The table of genes, the mutation, the parents, and the genetic search as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from search_landscape import PEAK, START, Hill, height, plan

from onelook.search.genes import GENES, in_range
from onelook.search.history import Row, read_history, write_history
from onelook.search.mutation import choose_parent, generator, mutate
from onelook.search.search import GeneticSearch, Trial, TrialScore
from onelook.settings.hyperparameters import Hyperparameters

# gain, least, largest, as they have been for years in this family of trainers
TABLE = {
    "lr0": (1, 1e-5, 0.1), "lrf": (1, 0.01, 1), "momentum": (0.3, 0.6, 0.98), "weight_decay": (1, 0, 0.001),
    "warmup_epochs": (1, 0, 5), "warmup_momentum": (1, 0, 0.95), "warmup_bias_lr": (1, 0, 0.2), "box": (1, 0.02, 0.2),
    "cls": (1, 0.2, 4), "cls_pw": (1, 0.5, 2), "obj": (1, 0.2, 4), "obj_pw": (1, 0.5, 2), "anchor_t": (1, 2, 8),
    "anchors": (2, 2, 10), "fl_gamma": (0, 0, 2), "hsv_h": (1, 0, 0.1), "hsv_s": (1, 0, 0.9), "hsv_v": (1, 0, 0.9),
    "degrees": (1, 0, 45), "translate": (1, 0, 0.9), "scale": (1, 0, 0.9), "shear": (1, 0, 10),
    "perspective": (0, 0, 0.001), "flipud": (1, 0, 1), "fliplr": (0, 0, 1), "mosaic": (1, 0, 1), "mixup": (1, 0, 1),
    "copy_paste": (1, 0, 1),
}  # fmt: skip
DEFAULTS = in_range(Hyperparameters(anchors=3).model_dump())


def row(generation: int, fitness: float, genes: dict[str, float] = START, **changes: object) -> Row:
    made = Row(generation, 0, genes, (0.1, 0.2, fitness, fitness, 0.3, 0.4, 0.5), fitness, 16)
    return replace(made, **changes)  # type: ignore[arg-type]


def run(search: GeneticSearch, hill: Hill) -> list[Row]:
    while search.step(hill) is not None:
        pass
    return search.rows()


def test_table_of_genes_is_the_known_one() -> None:
    assert {name: (gene.gain, gene.low, gene.high) for name, gene in GENES.items()} == TABLE


@pytest.mark.parametrize("name", GENES)
def test_every_value_that_is_searched_is_allowed(name: str) -> None:
    for value in (GENES[name].low, GENES[name].high):
        assert getattr(Hyperparameters(**{name: value}), name) == value


def test_values_are_clamped_and_rounded_to_5_decimals() -> None:
    assert in_range({"momentum": 0.999, "lr0": 0.0123456789, "unheard_of": 1}) == {"lr0": 0.01235, "momentum": 0.98}


def test_mutations_stay_between_three_tenths_and_three_times_and_within_the_range() -> None:
    for number in range(300):
        child = mutate(DEFAULTS, generator(0, number))
        assert child != DEFAULTS and list(child) == list(DEFAULTS)
        assert child == in_range(child)
        for name, value in DEFAULTS.items():
            if value:
                assert 0.3 * value - 1e-5 <= child[name] <= 3 * value + 1e-5, name


def test_mutations_follow_the_gains() -> None:
    children = [mutate(DEFAULTS, generator(1, number)) for number in range(2000)]

    def spread(name: str) -> float:
        return float(np.std([child[name] / DEFAULTS[name] for child in children]))

    assert spread("fliplr") == 0
    assert 0.25 < spread("momentum") / spread("obj") < 0.35
    assert 1.8 < spread("anchors") / spread("obj") < 2.2
    # of r N(0, 1) 0.2 with r uniform, in 8 of 10 cases: 0.2 sqrt(1/3) sqrt(0.8)
    assert spread("obj") == pytest.approx(0.2 * math.sqrt(0.8 / 3), rel=0.1)
    assert np.mean([child["obj"] == DEFAULTS["obj"] for child in children]) == pytest.approx(0.2, abs=0.03)


def test_a_gene_at_0_leaves_it_now_and_then_and_only_upwards() -> None:
    children = [mutate(DEFAULTS, generator(2, number)) for number in range(2000)]
    for name in ("degrees", "shear", "mixup", "copy_paste", "flipud"):
        values = np.array([child[name] for child in children])
        assert DEFAULTS[name] == 0 and (values >= 0).all()
        assert (values > 0).mean() == pytest.approx(0.1, abs=0.03), name
    assert all(child["perspective"] == 0 for child in children)


def test_mutation_depends_on_seed_and_generation_alone() -> None:
    child = mutate(DEFAULTS, generator(3, 7))
    assert child == mutate(DEFAULTS, generator(3, 7))
    assert child == mutate(dict(reversed(DEFAULTS.items())), generator(3, 7))
    assert child != mutate(DEFAULTS, generator(3, 8))
    assert child != mutate(DEFAULTS, generator(4, 7))
    fewer = {name: value for name, value in DEFAULTS.items() if name != "anchors"}
    assert {**mutate(fewer, generator(3, 7)), "anchors": child["anchors"]} == child


def test_random_numbers_of_neighbouring_generations_do_not_overlap() -> None:
    drawn = [generator(0, number).random(100) for number in range(50)]
    assert len(np.unique(np.concatenate(drawn))) == 50 * 100


def test_parents_are_the_five_best_each_as_likely_as_its_lead_over_the_last() -> None:
    rows = [row(number, fitness, {"lr0": 0.01 + number / 1000}) for number, fitness in enumerate(
        (0.1, 0.5, 0.3, 0.4, 0.2, 0.6)
    )] + [row(9, 0.9, {"lr0": 0.09}, state="pruned"), row(10, 0.9, {"lr0": 0.09}, state="failed")]  # fmt: skip
    chosen = [choose_parent(rows, generator(0, number))["lr0"] for number in range(3000)]
    shares = {number: chosen.count(0.01 + number / 1000) / 3000 for number in range(6)}
    for number, lead in {5: 0.4, 1: 0.3, 3: 0.2, 2: 0.1, 4: 0.0, 0: 0.0}.items():
        assert shares[number] == pytest.approx(lead, abs=0.03)
    assert sum(shares.values()) == pytest.approx(1)


def test_search_begins_with_the_starting_point_and_the_population() -> None:
    other = in_range({**START, "cls": 3.0})
    hill = Hill()
    rows = run(GeneticSearch(plan(4, others=(other,))), hill)
    assert [trial.genes for trial in hill.seen[:2]] == [START, other] == [found.genes for found in rows[:2]]
    assert [found.generation for found in rows] == [0, 1, 2, 3]
    assert all(found.epochs == 16 and found.state == "complete" for found in rows)


def test_search_climbs() -> None:
    rows = run(GeneticSearch(plan(60)), Hill())
    assert max(found.fitness for found in rows) > rows[0].fitness + 0.2 * (height(PEAK) - rows[0].fitness)
    assert any(found.genes["degrees"] > 0 for found in rows)


@pytest.mark.parametrize("generation", range(9))
def test_search_interrupted_at_any_generation_goes_on_to_the_same_bits(generation: int) -> None:
    whole = write_history(run(GeneticSearch(plan(9)), Hill()))
    search, hill = GeneticSearch(plan(9)), Hill(interrupted_at=generation)
    with pytest.raises(KeyboardInterrupt):
        run(search, hill)
    kept = write_history(search.rows())
    resumed = GeneticSearch(plan(9), read_history(kept.encode(), "evolve.csv", defaults=START))
    assert len(resumed.rows()) == generation
    assert write_history(run(resumed, Hill())) == whole
    assert hill.seen[-1].genes == read_history(whole.encode(), "", defaults=START)[generation].genes


def test_other_seed_other_search_and_more_trials_begin_with_the_same() -> None:
    rows = run(GeneticSearch(plan(5)), Hill())
    assert rows[0].genes == run(GeneticSearch(plan(2, seed=1)), Hill())[0].genes
    assert rows[1].genes != run(GeneticSearch(plan(2, seed=1)), Hill())[1].genes
    longer = run(GeneticSearch(plan(7), rows), Hill())
    assert longer[:5] == rows and len(longer) == 7


def test_failed_trials_are_noted_and_no_parents() -> None:
    def fails_but_first(trial: Trial) -> TrialScore:
        return Hill()(trial) if trial.number == 0 else TrialScore(note="out of memory", epochs=3)

    search = GeneticSearch(plan(4))
    while search.step(fails_but_first) is not None:
        pass
    rows = search.rows()
    assert [(found.state, found.fitness, found.epochs, found.note) for found in rows[1:]] == [
        ("failed", 0.0, 3, "out of memory")
    ] * 3
    assert [found.genes for found in rows[1:]] == [mutate(START, skipped(number)) for number in (1, 2, 3)]


def skipped(generation: int) -> np.random.Generator:
    """The generator of a generation after one parent has been drawn."""
    rng = generator(0, generation)
    choose_parent([row(0, 0.5)], rng)
    return rng


def test_search_in_which_all_fails_tries_the_surroundings_of_the_start() -> None:
    search = GeneticSearch(plan(3))
    tried: list[Trial] = []

    def fails(trial: Trial) -> TrialScore:
        tried.append(trial)
        return TrialScore()

    while search.step(fails) is not None:
        pass
    assert len(tried) == 3 and tried[1].genes == mutate(START, generator(0, 1))


def test_rows_of_other_searches_are_parents_but_not_counted() -> None:
    alone, together = GeneticSearch(plan(3)), GeneticSearch(plan(3))
    together.learn([row(0, 0.999, in_range({**PEAK, "lr0": 0.05}), seed=7)])
    run(alone, Hill())
    rows = run(together, Hill())
    assert len(rows) == 4 and [found.generation for found in rows if found.seed == 0] == [0, 1, 2]
    assert rows[1].genes != alone.rows()[1].genes
