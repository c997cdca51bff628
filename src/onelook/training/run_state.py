"""The state of a run: begun or restored, its batches cut into micro-batches, its length changed."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from torch import nn

from onelook.errors import counted
from onelook.processes.process_group import ProcessGroup
from onelook.training.batch_gradient import micro_batches_for
from onelook.training.families import create_loss
from onelook.training.loading import validation_batch_size
from onelook.training.run import Run
from onelook.training.run_model import RunModel
from onelook.training.schedule import Schedule
from onelook.training.state import TrainState, initial_state
from onelook.training.sync_norm import synchronise_normalisation

logger = logging.getLogger(__name__)


def change_length(model: RunModel, run: Run, state: TrainState, schedule: Schedule) -> Schedule:
    """The schedule of the run's new length, which the average of the weights and the loss follow, too."""
    changed = replace(schedule, length_changes=tuple(state.progress.length_changes))
    if run.group.is_first:
        logger.info("the time allows %s, not %d", counted(changed.settings.epochs, "epoch"), schedule.settings.epochs)
    balance = state.loss.balance
    state.loss = create_loss(model.model, run.settings, early=changed.early_share, closing=changed.closing_share)
    state.loss.balance = balance
    state.ema.plan_for(changed.total_updates)
    return changed


def state_of(model: RunModel, run: Run, schedule: Schedule, *, adapters: nn.ModuleList | None = None) -> TrainState:
    """The state that a run begins with, or is resumed with; `adapters` are those of a new run."""
    state = initial_state(model.model, run.settings, schedule, device=model.device, amp=model.amp, adapters=adapters)
    if run.resumed is not None:
        state.restore(run.resumed.checkpoint)
    _cut_batches(state, schedule, run.group)
    state.progress.val_batch = validation_batch_size(run)
    if run.settings.sync_bn:
        synchronise_normalisation(model.model, run.group)
    return state


def _cut_batches(state: TrainState, schedule: Schedule, group: ProcessGroup) -> None:
    """Set the number of micro-batches; a resumed run keeps its own if the processes can share it."""
    before = state.progress.micro_batches
    wanted = max(before, micro_batches_for(schedule.samples_in(0), schedule.settings.micro_batch, group.world_size))
    state.progress.micro_batches = math.lcm(wanted, group.world_size)
    if before not in (0, state.progress.micro_batches) and group.is_first:
        logger.warning(
            "batches have %d micro-batches instead of %d: the result is equally good, but not bit for bit the same",
            state.progress.micro_batches,
            before,
        )
