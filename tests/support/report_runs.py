"""Made-up runs for the tests of the report."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from plots_examples import make_metrics

from onelook.callbacks.run_facts import RunFacts, SplitFacts
from onelook.data.scan.ledger import Ledger, LedgerEntry
from onelook.files.images import encode_image
from onelook.reports.examples import Example, ExampleBox, Examples
from onelook.reports.run_record import RunRecord
from onelook.settings.train import TrainSettings


def make_results(num_epochs: int, *, seed: int = 0) -> tuple[dict[str, float], ...]:
    rng = np.random.default_rng(seed)
    rows = []
    for epoch in range(num_epochs):
        share = (epoch + 1) / num_epochs
        row = {"epoch": float(epoch)}
        row |= {
            f"{part}/{kind}_loss": 0.1 / (1 + epoch) + 0.01
            for part in ("train", "val")
            for kind in ("box", "obj", "cls")
        }
        row |= {"metrics/precision": 0.8 * share, "metrics/recall": 0.7 * share}
        row |= {"metrics/mAP_0.5": 0.9 * share, "metrics/mAP_0.5:0.95": 0.6 * share - 0.01 * float(rng.random())}
        rows.append(row | {"x/lr0": 0.01, "x/lr1": 0.01 * (1 - share), "x/lr2": 0.01})
    return tuple(rows)


def make_run(
    label: str = "exp", *, names: tuple[str, ...] = ("bee", "wasp"), text: str = "plain", seed: int = 0, **changes: Any
) -> RunRecord:
    """A run with everything; `names` are those of its classes, `text` stands wherever else a user's words can."""
    settings = TrainSettings().model_dump(mode="json") | {"data": text, "name": text, "epochs": 20} | changes
    entry = LedgerEntry(file=text, line=3, value=text, reason=text, outcome="refused", rows=1)
    ledger = Ledger(text, 10, 1, 0, 0, 30, 0, 0, 1, 11, 31, entries=(entry,))
    box = ExampleBox((10.0, 10.0, 40.0, 30.0), 0, True)
    missed = ExampleBox((60.0, 5.0, 90.0, 50.0), len(names) - 1, False)
    right, wrong = (
        ExampleBox((11.0, 10.0, 41.0, 30.0), 0, True, 0.9),
        ExampleBox((0.0, 40.0, 20.0, 60.0), 0, False, 0.6),
    )
    jpeg = encode_image(np.full((64, 96, 3), 90, np.uint8), ".jpg")
    image = Example(f"/data/{text}", (64, 96), base64.b64encode(jpeg).decode(), 1, 1, 1, (box, missed), (right, wrong))
    splits = {"train": SplitFacts(100, (50, *[0] * (len(names) - 1))), text: SplitFacts(20, (5,) * len(names))}
    machine = {"device": text, "torch": "2.13.0", text: text}
    speeds = tuple(
        {
            "epoch": float(e),
            "train_seconds": 2.0,
            "val_seconds": 1.0,
            "save_seconds": 0.1,
            "train_images_per_second": 50.0 + e,
        }
        | {"memory_mib": 900.0 + e}
        for e in range(20)
    )
    return RunRecord(
        path=Path("/runs/exp"),
        label=label,
        settings=settings,
        results=make_results(20, seed=seed),
        speeds=speeds,
        status={"state": "failed", "message": text},
        ledgers={text: ledger},
        metrics=make_metrics(len(names), seed=seed),
        milliseconds={"load": 1.0, "inference": 5.0, text: 2.0},
        class_names=names,
        facts=RunFacts(f"model {text}", names, splits, (machine, machine | {"torch": "2.14.0"}), (text,), "finished"),
        examples=Examples(0.4, (image,), (image,)),
    )
