"""`evolve.csv`: exact, found by name, and refused with a reason; and the file of the best hyperparameters."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from search_landscape import START

from onelook.errors import RunFolderError, SettingsError
from onelook.search.best_hyp import best_hyp_text
from onelook.search.genes import in_range
from onelook.search.history import RESULTS, Row, merged, ranked, read_history, write_history
from onelook.search.plan import read_population
from onelook.settings.build import build_settings
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.train import TrainSettings

ROWS = [
    Row(0, 0, in_range({**START, "lr0": 0.01234}), (0.1 + 0.2, 1 / 3, 2e-17, 0.5, 1.5, 0.25, 3.0), 1 / 7, 8),
    Row(1, 0, START, (0.0, 0.0, 0.0, 0.0, *[math.nan] * 3), 0.0, 3, "failed", 'NumericsError: it, "nan"'),
    Row(2, 0, START, (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), 0.49, 2, "pruned"),
]  # fmt: skip


def read(text: str, **defaults: float) -> list[Row]:
    return read_history(text.encode(), "evolve.csv", defaults={**START, **defaults})


def test_history_reads_back_bit_for_bit() -> None:
    text = write_history(ROWS)
    again = read(text)
    assert write_history(again) == text
    assert again[0] == ROWS[0] and again[2] == ROWS[2]
    assert again[1].note == 'NumericsError: it, "nan"' and math.isnan(again[1].results[4])


def test_columns_are_results_then_genes_then_account() -> None:
    titles = write_history(ROWS).splitlines()[0].split(",")
    assert titles == [*RESULTS, *START, "fitness", "generation", "seed", "epochs", "state", "note"]


def test_a_loss_that_the_model_does_not_have_has_no_column() -> None:
    rows = [Row(0, 0, START, (0.1, 0.2, 0.3, 0.4, 1.5, math.nan, 3.0), 0.39, 8)]
    text = write_history(rows)
    assert "val/obj_loss" not in text and "val/box_loss,val/cls_loss" in text
    again = read(text)
    assert write_history(again) == text and math.isnan(again[0].results[5]) and again[0].results[6] == 3.0
    assert "obj_loss" not in best_hyp_text(rows, {}, "onelook train")


def test_columns_may_stand_in_any_order_and_strange_ones_are_left_out() -> None:
    lines = [line.split(",") for line in write_history(ROWS[:1]).splitlines()]
    turned = "\n".join(
        ",".join([*reversed(line), extra]) for line, extra in zip(lines, ("weather", "fine"), strict=True)
    )
    assert read(turned) == ROWS[:1]


def test_missing_gene_takes_the_value_of_the_start() -> None:
    lines = write_history(ROWS[:1]).replace("momentum", "iou_t")
    assert read(lines, momentum=0.8)[0].genes["momentum"] == 0.8


def test_file_of_yolov5_can_be_read() -> None:
    titles = ["   metrics/precision", *RESULTS[1:], "lr0", "iou_t", "momentum"]
    text = ",".join(f"{title:>20}" for title in titles) + "\n" + ",".join(
        f"{value:>20.5g}" for value in (0.5, 0.4, 0.6, 0.2, 0.01, 0.02, 0.03, 0.005, 0.2, 0.9)
    )  # fmt: skip
    (found,) = read(text)
    assert found.genes["lr0"] == 0.005 and found.genes["momentum"] == 0.9
    assert found.fitness == pytest.approx(0.1 * 0.6 + 0.9 * 0.2)
    assert (found.generation, found.seed, found.state) == (0, 0, "complete")


HEADER = ",".join([*RESULTS, "lr0", "fitness", "generation"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has no column `metrics/precision`"),
        (b"epoch,loss\n1,2\n", "has no column `metrics/precision`"),
        (f"{HEADER}\n1,2,3\n".encode(), "line 2 has 3 cells, its first line 10"),
        (f"{HEADER}\n1,2,3,4,5,6,7,8,abc,0\n".encode(), "line 2: `fitness` is `abc`, which is not a finite number"),
        (f"{HEADER}\n1,2,3,4,5,6,7,inf,1,0\n".encode(), "line 2: `lr0` is `inf`"),
        (f"{HEADER}\n1,2,3,4,5,6,7,8,1,-1\n".encode(), "line 2: `generation` is `-1`, which is not a whole number"),
        (
            f"{HEADER},state\n1,2,3,4,5,6,7,8,1,0,asleep\n".encode(),
            "state `asleep` is none of complete, ",
        ),
        (b"\xff\xfe", "is not UTF-8 text: byte 0"),
        (f"{HEADER[:-19]}\n1,2,,4,5,6,7,8\n".encode(), "line 2: `metrics/mAP_0.5` is ``, which is not a finite number"),
        (f"{HEADER}\n{'1,' * 8}1,0\0\n".encode(), "line 2"),
    ],
)
def test_wrong_file_is_refused_with_its_place(content: bytes, says: str) -> None:
    with pytest.raises(RunFolderError, match=r"evolve\.csv") as caught:
        read_history(content, "evolve.csv", defaults=START)
    assert says in caught.value.message


@pytest.mark.parametrize("note", ["=1+1", "+cmd", "@x", "-2", "a\nb\x1b[2J", "x" * 1000])
def test_notes_are_one_short_line_and_no_formula(note: str) -> None:
    cells = write_history([Row(0, 0, START, ROWS[0].results, 0.0, 0, "failed", note)]).splitlines()
    assert len(cells) == 2
    written = cells[1].split("failed,")[1]
    assert written.isprintable() and len(written) <= 200 and not written.startswith(("=", "+", "-", "@"))


def test_values_out_of_range_are_brought_back() -> None:
    assert read(write_history(ROWS[:1]).replace("0.01234", "99"))[0].genes["lr0"] == 0.1


def test_only_complete_trials_are_ranked_and_among_ties_the_earlier_is_better() -> None:
    equal = [Row(3, 0, START, ROWS[0].results, 1 / 7, 8), *ROWS]
    assert [row.generation for row in ranked(equal)] == [0, 3]


def test_merged_keeps_one_row_per_seed_and_generation_and_prefers_ours() -> None:
    theirs = [Row(0, 0, START, ROWS[0].results, 0.9, 8), Row(0, 4, START, ROWS[0].results, 0.8, 8)]
    both = merged(ROWS[:2], theirs)
    assert [(row.key, row.fitness) for row in both] == [((0, 0), 1 / 7), ((0, 1), 0.0), ((4, 0), 0.8)]


def test_file_of_the_best_is_taken_by_hyp_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "hyp_evolve.yaml"
    path.write_text(
        best_hyp_text(ROWS, {"label_smoothing": 0.1, "auto_balance": True}, "onelook train --data bees.yaml")
    )
    settings = build_settings(TrainSettings, {"hyp": str(path)})
    assert {name: getattr(settings, name) for name in START} == ROWS[0].genes
    assert settings.label_smoothing == 0.1 and settings.auto_balance
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "onelook train --data bees.yaml" in comments[1]
    assert "best generation: 0 of the search with seed 0, fitness 0.14285714285714285" in comments[2]
    assert comments[3] == "# last generation: 2"
    assert comments[4] == "# metrics/precision: 0.30000000000000004"


def test_population_is_read_by_name_of_file_and_completed_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("lr0: 0.5\ncls: 0.7\nlabel_smoothing: 0.1\niou_t: 0.2\n")
    (tmp_path / "a.yml").write_text("degrees: 3\nmixup: 0.3\n")
    (tmp_path / "notes.txt").write_text("no hyperparameters\n")
    first, second = read_population(tmp_path, START)
    assert first == in_range({**START, "degrees": 3.0})  # mixup is not searched here
    assert second == in_range({**START, "lr0": 0.1, "cls": 0.7})


@pytest.mark.parametrize(
    ("content", "says"),
    [("lr: 0.1\n", "did you mean `lrf`|did you mean `lr0`"), ("lr0: -1\n", "`lr0`.*line 1.*greater")],
)
def test_wrong_file_in_the_population_is_named(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "wrong.yaml").write_text(content)
    with pytest.raises(SettingsError, match=says):
        read_population(tmp_path, START)


def test_folder_without_files_is_no_population(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"`evolve_population` is .*where no YAML file is"):
        read_population(tmp_path, in_range(Hyperparameters().model_dump()))
