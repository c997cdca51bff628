"""One step of a run, or of a trial that shows what a run will take: a gradient, and an update if the plan has one."""

from __future__ import annotations

from onelook.processes.process_group import ProcessGroup
from onelook.processes.stop_signal import StopSignal
from onelook.structures.batch import Batch
from onelook.training.batch_gradient import BatchGradient, BatchLosses, micro_batches_for
from onelook.training.captured import Recorder
from onelook.training.freeze import frozen_rows, set_training_mode
from onelook.training.network_passes import ComputeOptions
from onelook.training.run_model import RunModel
from onelook.training.schedule import Schedule, StepPlan
from onelook.training.state import initial_state
from onelook.training.teacher import Teacher
from onelook.training.weight_update import WeightUpdate


class TrainingStep:
    """Trains what the state of `gradient` holds on one batch.

    Attributes:
        update: changes the weights by the sum of gradients.
    """

    def __init__(self, gradient: BatchGradient) -> None:
        self.state, self.compute = gradient.state, gradient.compute
        self.gradient = gradient
        self.update = WeightUpdate(gradient.state)

    @classmethod
    def of_trial(
        cls,
        model: RunModel,
        schedule: Schedule,
        group: ProcessGroup,
        *,
        teacher: Teacher | None = None,
        recorder: Recorder | None = None,
    ) -> TrainingStep:
        """The step of a run that begins with `model`, on its device, and is thrown away: nothing is compiled for it."""
        settings, network = schedule.settings, model.model
        adapters = teacher.adapters(settings.seed) if teacher is not None else None
        state = initial_state(network, settings, schedule, device=model.device, amp=model.amp, adapters=adapters)
        state.progress.micro_batches = micro_batches_for(schedule.samples_in(0), settings.micro_batch, group.world_size)
        frozen = tuple(frozen_rows(network, settings.freeze))
        compute = ComputeOptions(model.device, model.amp, network.max_stride, frozen, recorder=recorder)
        set_training_mode(network, frozen)
        return cls(BatchGradient(state, group, schedule=schedule, compute=compute, teacher=teacher))

    def run(self, batch: Batch, plan: StepPlan, *, stop: StopSignal | None = None) -> BatchLosses:
        """Forward, loss and backward, and an update of the weights if `plan` has one; errors as of both."""
        losses = self.gradient.add(batch, plan, stop=stop)
        if plan.is_update:
            self.update.apply(plan)
        return losses
