"""A run: its settings, folder and processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onelook.data.splits import Splits
from onelook.processes.process_group import ProcessGroup
from onelook.runs.run_dir import RunDir
from onelook.settings.series import storable
from onelook.settings.train import TrainSettings
from onelook.training.agreement import made_with
from onelook.training.resume import Resumed
from onelook.training.run_model import RunModel


@dataclass(frozen=True)
class Run:
    """Settings, folder and processes of a run.

    Attributes:
        resumed: the earlier run, if this resumes one.
        began: when the preparation began, by `monotonic`.
    """

    settings: TrainSettings
    folder: RunDir
    resumed: Resumed | None
    group: ProcessGroup
    began: float = 0.0

    def stored_settings(self) -> dict[str, Any]:
        """The settings that make the run what it is, for the run folder and the checkpoints."""
        return storable(TrainSettings, self.settings.model_dump(mode="json"))


def common_document(data: Splits, model: RunModel, run: Run) -> dict[str, Any]:
    """The part of a checkpoint's document that stays the same for the whole run."""
    record = run.folder.record
    return {
        "run": {"id": record.run_id, "began": record.began},
        "settings": run.stored_settings(),
        "names": list(data.names),
        "definition": model.model.definition,
        "data": data.fingerprints(),
        "made_with": made_with(model.device, run.group),
        **({"origin": asdict(model.origin)} if model.origin is not None else {}),
    }
