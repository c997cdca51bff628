"""How much of a limit a run uses whose batch size was found, and whether it keeps within it.

    python benchmarks/bench_autobatch.py --data bccd/data.yaml --limits 3000 4000 --epochs 6 --save

Every run is a process of its own under `ulimit -v` (`--kind address_space`), under `ulimit -d` (`data`), or with so
much memory free as a control group would leave it (`resident`; files like those of Linux stand in for the group, and
nothing enforces them: the peak is that of the process and of those that load images for it).
Acceptance: 70 % to 100 % of the limit, and memory never runs out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from process_memory import proportional_set
from record import append_rows

MIB = 2**20
HEADER = [
    "kind", "limit_mib", "model", "imgsz", "multi_scale", "workers", "batch_size", "predicted_mib", "peak_mib",
    "share_of_limit", "ran_out", "epochs", "search_s", "search_processor_s", "trials", "torch",
]  # fmt: skip

TRIAL = b"spawn_main"  # in the command line of a process that tries a batch size


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--limits", type=int, nargs="+", default=[3000], help="MiB")
    parser.add_argument("--kind", choices=("address_space", "data", "resident"), default="address_space")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--multi-scale", action="store_true")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--save", action="store_true", help="append to results/autobatch.csv")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_under_limit(json.loads(arguments.one))
        return
    for limit_mib in arguments.limits:
        row = measured(arguments, limit_mib)
        print(", ".join(f"{name} {value}" for name, value in zip(HEADER, row, strict=True)), flush=True)
        if arguments.save:
            append_rows("autobatch", HEADER, [row])


def measured(arguments: argparse.Namespace, limit_mib: int) -> list[object]:
    """One run in a process of its own, as a row."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "data": str(arguments.data), "cfg": arguments.model, "imgsz": arguments.imgsz, "epochs": arguments.epochs,
            "multi_scale": arguments.multi_scale, "workers": arguments.workers, "batch_size": -1, "project": folder,
            "device": "cpu",
        }  # fmt: skip
        given = json.dumps({"kind": arguments.kind, "limit": limit_mib * MIB, "options": options})
        words = [sys.executable, __file__, "--data", str(arguments.data), "--one", given]
        ended = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return [
        arguments.kind, limit_mib, arguments.model, arguments.imgsz, arguments.multi_scale, arguments.workers,
        found["batch_size"], round(found["predicted"] / MIB), round(found["peak"] / MIB),
        f"{found['peak'] / MIB / limit_mib:.3f}", found["ran_out"], arguments.epochs, f"{found['search_s']:.0f}",
        f"{found['processor_s']:.0f}", found["trials"], found["torch"],
    ]  # fmt: skip


def run_under_limit(given: dict[str, Any]) -> None:
    """Train under the limit, and print what happened as JSON."""
    import torch

    import onelook.training.batch_size as recipe
    from onelook.recipes.train import train
    from onelook.training.autobatch import BatchChoice, find_batch_size

    choices: list[tuple[BatchChoice, float, float]] = []

    def timed(*arguments: Any, **options: Any) -> BatchChoice:
        begun, spent = time.monotonic(), processor_seconds()
        choice = find_batch_size(*arguments, **options)
        choices.append((choice, time.monotonic() - begun, processor_seconds() - spent))
        return choice

    recipe.find_batch_size = timed
    watch = Watch(given["kind"], given["limit"])
    result = train(given["options"])
    choice, search_s, processor_s = choices[0]
    micro_batches = _micro_batches(result.last)
    print(
        json.dumps(
            {
                "batch_size": choice.batch_size,
                "predicted": choice.predicted_bytes,
                "peak": watch.peak(),
                "ran_out": micro_batches > 1,
                "search_s": search_s,
                "processor_s": processor_s,
                "trials": " ".join(map(str, choice.trials)),
                "torch": torch.__version__,
            }
        )
    )


def processor_seconds() -> float:
    """Of this process and of those that have ended in it."""
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(use.ru_utime + use.ru_stime for use in both)


def _micro_batches(checkpoint: Path) -> int:
    from onelook.runs.checkpoint import load_checkpoint

    return int(load_checkpoint(checkpoint).document["progress"]["shards"])


class Watch:
    """Sets the limit, and knows the peak of what it limits.

    Args:
        kind: address_space, data or resident.
        limit: bytes.
    """

    def __init__(self, kind: str, limit: int) -> None:
        self._kind = kind
        self._highest = 0
        if kind == "resident":
            _pretend_control_group(limit)
        else:
            which = resource.RLIMIT_AS if kind == "address_space" else resource.RLIMIT_DATA
            resource.setrlimit(which, (limit, limit))
        if kind != "address_space":  # of which Linux keeps the peak
            threading.Thread(target=self._look, daemon=True).start()

    def peak(self) -> int:
        """Bytes."""
        from onelook.processes.memory import memory_use

        use = memory_use()
        assert use is not None
        return use.peak_address_space if self._kind == "address_space" else self._highest

    def _look(self) -> None:
        from onelook.processes.memory import memory_use

        while True:
            use = memory_use()
            assert use is not None
            self._highest = max(self._highest, use.data if self._kind == "data" else proportional_set(without=TRIAL))
            time.sleep(0.02)


def _pretend_control_group(limit: int) -> None:
    """Let the search read what a control group with this limit would leave to a process that has just begun."""
    from onelook.processes import memory

    def free(**_: object) -> int:
        return max(0, limit - proportional_set(without=TRIAL))

    memory.available_memory = free


if __name__ == "__main__":
    main()
