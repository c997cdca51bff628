"""The trials of a search so far, and `evolve.csv`, the file that holds them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from onelook.errors import RunFolderError
from onelook.search.genes import GENES, Individual, in_range
from onelook.structures.results import MAP50, MAP50_95, METRICS, VAL_LOSSES, fitness_of

State = Literal["complete", "pruned", "failed"]
RESULTS = (*METRICS, *VAL_LOSSES)
ACCOUNT = ("fitness", "generation", "seed", "epochs", "state", "note")
NO_RESULTS = (0.0, 0.0, 0.0, 0.0, math.nan, math.nan, math.nan)
MAX_ROWS = 100_000
MAX_NOTE = 200


@dataclass(frozen=True)
class Row:
    """One trial: a set of hyperparameters and its score.

    Attributes:
        generation: number of the trial in its search, from 0.
        seed: seed of the search; rows of different searches differ in it.
        genes: the hyperparameters that are searched, and those of `GENES` that are fixed.
        results: precision, recall, mAP50, mAP50-95, and box, obj and cls loss of the validation; losses may be nan.
        fitness: what the search maximises.
        state: "complete"; "pruned", ended early as not promising; or "failed".
        note: why it failed, else empty.
    """

    generation: int
    seed: int
    genes: Individual
    results: tuple[float, ...]
    fitness: float
    epochs: int
    state: State = "complete"
    note: str = ""

    @property
    def key(self) -> tuple[int, int]:
        """Identifies the row among those of all searches that share a bucket."""
        return self.seed, self.generation


def ranked(rows: Iterable[Row]) -> list[Row]:
    """The rows of complete trials, best first; among ties the earlier one."""
    return sorted((row for row in rows if row.state == "complete"), key=lambda row: (-row.fitness, row.key))


def merged(own: Iterable[Row], others: Iterable[Row]) -> list[Row]:
    """All rows, each key once, by seed and generation; `own` wins over `others`."""
    by_key = {row.key: row for rows in (others, own) for row in rows}
    return [by_key[key] for key in sorted(by_key)]


def write_history(rows: Sequence[Row]) -> str:
    """The text of `evolve.csv`: results, hyperparameters, then `ACCOUNT`; numbers with all their digits.

    Losses that the model does not have, such as an objectness loss, have no column.
    """
    known = [
        number
        for number, name in enumerate(RESULTS)
        if name in METRICS or any(math.isfinite(row.results[number]) for row in rows)
    ]
    names = [name for name in GENES if any(name in row.genes for row in rows)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*(RESULTS[number] for number in known), *names, *ACCOUNT])
    for row in rows:
        genes = (_cell(row.genes.get(name, math.nan)) for name in names)
        account = repr(row.fitness), row.generation, row.seed, row.epochs, row.state, _one_line(row.note)
        writer.writerow([*(_cell(row.results[number]) for number in known), *genes, *account])
    return buffer.getvalue()


def read_history(content: bytes, location: str, *, defaults: Mapping[str, float]) -> list[Row]:
    """The rows of an `evolve.csv`; also of YOLOv5's, which has no columns of `ACCOUNT`.

    Columns are found by name, in any order; unknown ones are left out.

    Args:
        defaults: values of hyperparameters that have no column, or an empty cell.

    Raises:
        RunFolderError: it is not UTF-8, a column is missing, or a cell is not a valid number.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise RunFolderError(f"file `{location}` is not UTF-8 text: byte {problem.start}") from problem
    lines = _table(text, location)
    titles = next(lines, (0, []))[1]
    missing = [name for name in METRICS if name not in titles]
    if missing:
        raise RunFolderError(
            f"file `{location}` has no column `{missing[0]}`", hint="it is not the `evolve.csv` of a search"
        )
    rows: list[Row] = []
    for number, cells in lines:
        if len(cells) != len(titles):
            raise RunFolderError(
                f"file `{location}` line {number} has {len(cells)} cells, its first line {len(titles)}"
            )
        if len(rows) == MAX_ROWS:
            raise RunFolderError(f"file `{location}` has more than {MAX_ROWS} lines")
        try:
            rows.append(_row(dict(zip(titles, cells, strict=True)), len(rows), defaults))
        except ValueError as problem:
            raise RunFolderError(
                f"file `{location}` line {number}: {problem}", hint="correct or delete the line"
            ) from problem
    return rows


def _table(text: str, location: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text))
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as problem:
        raise RunFolderError(f"file `{location}` line {reader.line_num} is not CSV: {problem}") from problem


def _row(cells: Mapping[str, str], position: int, defaults: Mapping[str, float]) -> Row:
    given = {name: _number(cells, name) for name in GENES if cells.get(name, "") != ""}
    results = tuple(_number(cells, name) if cells.get(name) else math.nan for name in RESULTS)
    state = cells.get("state", "complete")
    if state not in get_args(State):
        raise ValueError(f"state `{state}` is none of {', '.join(get_args(State))}")
    if "fitness" in cells:
        fitness = _number(cells, "fitness")
    else:
        fitness = fitness_of(_number(cells, MAP50), _number(cells, MAP50_95))
    return Row(
        generation=_count(cells, "generation", position),
        seed=_count(cells, "seed", 0),
        genes=in_range({**defaults, **given}),
        results=results,
        fitness=fitness,
        epochs=_count(cells, "epochs", 0),
        state=state,  # type: ignore[arg-type]
        note=_one_line(cells.get("note", "")),
    )


def _number(cells: Mapping[str, str], name: str) -> float:
    try:
        value = float(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"`{name}` is `{cells[name]}`, which is not a finite number")
    return value


def _count(cells: Mapping[str, str], name: str, default: int) -> int:
    text = cells.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ValueError(f"`{name}` is `{text}`, which is not a whole number from 0")
    return int(text)


def _cell(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""


def _one_line(text: str) -> str:
    """A note on one line without control characters, which no spreadsheet takes for a formula."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NOTE]
    return line.lstrip("=+-@ ")
