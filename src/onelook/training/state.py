"""Everything that changes during a run, and its way into a checkpoint and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from onelook.errors import CheckpointError
from onelook.losses.protocol import FamilyLoss
from onelook.models.detector import DetectionModel
from onelook.runs.checkpoint import Checkpoint
from onelook.settings.train import TrainSettings
from onelook.training.ema import ModelEma
from onelook.training.families import create_loss
from onelook.training.freeze import frozen_rows
from onelook.training.optimizer import create_optimizer, optimizer_tensors, restore_optimizer
from onelook.training.schedule import Schedule

KIND_TRAINING = "training"
KIND_DETECTOR = "detector"
_STORED_AS = {"micro_batches": "shards", "length_changes": "turns"}  # keys of a checkpoint that have another name


@dataclass
class Progress:
    """Where a run stands; plain numbers, so that it travels as JSON.

    Attributes:
        epoch: the epoch under way, from 0.
        batch: batches of this epoch that are done; equal to the batches of an epoch when only validation is missing.
        step: batches done since the run began.
        loss_sums: sums of the loss terms over this epoch's batches; empty before the first.
        skipped_updates: updates in a row that were not made because a gradient was not finite.
        best_fitness, best_epoch: -1 before the first validation.
        class_ap: mAP50-95 of every class in the last validation, 0 for those without labels; empty before the first.
        branch: the branch of the head that was better in the last validation.
        val_batch: images of a batch in validation, as settled when the run began; 0 before that.
        micro_batches: parts of every batch, computed one after the other or in several processes; 0 before the start.
        length_changes: (epoch, epochs of the run from then on) for each change of its length, see `time_budget.py`.
        seconds, epoch_began, epoch_seconds: with a time budget, what the run has taken so far, when the current epoch
            began, and what the last epochs took.
        history: the rows of `results.csv`.
        scaler: the state of the fp16 loss scaler, empty without it.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sums: list[float] = field(default_factory=list)
    skipped_updates: int = 0
    best_fitness: float = -1.0
    best_epoch: int = -1
    stopped_early: bool = False
    class_ap: list[float] = field(default_factory=list)
    branch: str = "many"
    val_batch: int = 0
    micro_batches: int = 0
    length_changes: list[list[int]] = field(default_factory=list)
    seconds: float = 0.0
    epoch_began: float = 0.0
    epoch_seconds: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)


class AdaptedNetwork(nn.Module):
    """Raw maps of a model, and behind them its features after one convolution each, (B, T, H, W).

    Args:
        adapters: see `Teacher.adapters`.
    """

    def __init__(self, model: DetectionModel, adapters: nn.ModuleList) -> None:
        super().__init__()
        self.model = model
        self.adapters = adapters

    def forward(self, images: Tensor) -> list[Tensor]:
        """Raw maps and adapted features of (B, 3, H, W) images."""
        features = self.model.features(images)
        maps = self.model.raw_maps(features)
        return [*maps, *(adapter(feature) for adapter, feature in zip(self.adapters, features, strict=True))]


@dataclass
class TrainState:
    """The moving parts of a run.

    Attributes:
        ema: its running average, which is validated and shipped.
        scaler: gradient scaler for fp16; does nothing when disabled.
        loss: the weights of its output maps move under auto-balance.
        adapters: layers that learn with the model, to compare its features with those of a teacher; no part of the
            average. None without such a teacher.
    """

    model: nn.Module
    ema: ModelEma
    optimizer: Optimizer
    scaler: torch.amp.GradScaler
    loss: FamilyLoss
    progress: Progress
    adapters: nn.ModuleList = field(default_factory=nn.ModuleList)

    @property
    def network(self) -> nn.Module:
        """What a training step runs: the model, and its adapters if there are any."""
        return AdaptedNetwork(self.model, self.adapters) if len(self.adapters) else self.model  # type: ignore[arg-type]

    def parameters(self) -> list[nn.Parameter]:
        """All that learn or are frozen, those of the adapters last."""
        return [*self.model.parameters(), *self.adapters.parameters()]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the state by name: `model/`, `ema/`, `optimizer/`, and the same of the adapters."""
        return {
            **_prefixed("model/", self.model.state_dict()),
            **_prefixed("ema/", self.ema.module.state_dict()),
            **_prefixed("optimizer/", optimizer_tensors(self.optimizer, self.model)),
            **_prefixed("adapters/", self.adapters.state_dict()),
            **_prefixed("adapters_optimizer/", optimizer_tensors(self.optimizer, self.adapters)),
        }

    def document(self) -> dict[str, Any]:
        """All plain values of the state."""
        self.progress.scaler = self.scaler.state_dict()
        progress = {_STORED_AS.get(name, name): value for name, value in asdict(self.progress).items()}
        sums = [value if math.isfinite(value) else None for value in self.progress.loss_sums]
        return {
            "kind": KIND_TRAINING,
            "progress": {**progress, "loss_sums": sums},
            "branch": self.progress.branch,
            "ema_updates": self.ema.updates,
            "loss": {"balance": self.loss.balance.tolist()},
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put everything back as it was when `checkpoint`, that of a training, was written; the objects stay the same.

        Raises:
            CheckpointError: the checkpoint holds the state of another model.
        """
        document = checkpoint.document
        _load(self.model, checkpoint.tensors_below("model/"))
        _load(self.ema.module, checkpoint.tensors_below("ema/"))
        self.ema.updates = int(document["ema_updates"])
        restore_optimizer(self.optimizer, self.model, checkpoint.tensors_below("optimizer/"))
        _load(self.adapters, checkpoint.tensors_below("adapters/"))
        restore_optimizer(self.optimizer, self.adapters, checkpoint.tensors_below("adapters_optimizer/"))
        names = {stored: name for name, stored in _STORED_AS.items()}
        self.progress = Progress(**{names.get(key, key): value for key, value in document["progress"].items()})
        self.progress.loss_sums = [math.nan if value is None else value for value in self.progress.loss_sums]
        self.loss.balance = torch.tensor(document["loss"].get("balance", []), dtype=torch.float32)
        if self.progress.scaler:
            self.scaler.load_state_dict(self.progress.scaler)


def initial_state(
    model: DetectionModel,
    settings: TrainSettings,
    schedule: Schedule,
    *,
    device: torch.device,
    amp: torch.dtype | None,
    adapters: nn.ModuleList | None = None,
) -> TrainState:
    """The state of a run that begins with a `model` on its device, whose frozen rows are set to learn nothing."""
    adapters = nn.ModuleList() if adapters is None else adapters.to(device)
    for row in frozen_rows(model, settings.freeze):
        row.requires_grad_(False)
    return TrainState(
        model=model,
        ema=ModelEma(model, total_updates=schedule.total_updates),
        optimizer=create_optimizer(nn.ModuleList([model, adapters]), settings, schedule.weight_decay),
        scaler=torch.amp.GradScaler(device.type, enabled=amp == torch.float16),
        loss=create_loss(model, settings, early=schedule.early_share, closing=schedule.closing_share),
        progress=Progress(),
        adapters=adapters,
    )


def detector_tensors(ema: ModelEma) -> dict[str, Tensor]:
    """The tensors of a checkpoint for inference: the average, under the names of the model."""
    return _prefixed("ema/", ema.module.state_dict())


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as problem:
        raise CheckpointError(f"the checkpoint does not fit the model: {problem}") from problem
