"""`hyp_evolve.yaml`: the best hyperparameters so far, ready for `--hyp`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onelook.files.yaml import dump_yaml
from onelook.search.history import RESULTS, Row, ranked


def best_hyp_text(rows: Sequence[Row], others: Mapping[str, float | bool], command: str) -> str:
    """The text of the file: how to train with it, the score, and the hyperparameters."""
    best = ranked(rows)[0]
    found = zip(RESULTS, best.results, strict=True)
    results = [f"# {name}: {value!r}" for name, value in found if math.isfinite(value)]
    lines = [
        "# Hyperparameters found by `onelook evolve`; to train with them:",
        f"#   {command}",
        f"# best generation: {best.generation} of the search with seed {best.seed}, fitness {best.fitness!r}",
        f"# last generation: {max(row.generation for row in rows)}",
        *results,
        "",
    ]
    return "\n".join(lines) + dump_yaml({**best.genes, **others})
