"""One change of the weights: clip, step, average. It never waits for the device, and bad gradients change nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onelook.errors import NumericsError
from onelook.training.optimizer import apply_plan, step_unless
from onelook.training.schedule import StepPlan
from onelook.training.state import TrainState

MAX_GRADIENT_NORM = 10.0
MAX_SKIPPED_UPDATES = 20


class WeightUpdate:
    """Updates the weights of `state`, in place, and then their average from the gradients that lie in `parameter.grad`.

    Whether the gradients are finite is decided on the device: the optimizer leaves weights, momenta and step counts
    alone if they are not. The host reads the verdict one update later (`settle`), when it no longer has to wait.
    """

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._parameters = state.parameters()
        self._pending: _Verdict | None = None

    def apply(self, plan: StepPlan) -> None:
        """Clip the gradients together to a norm of 10, move the weights and then their average.

        Raises:
            NumericsError: see `settle`; it is about the update before this one.
        """
        self.settle()
        state = self._state
        apply_plan(state.optimizer, plan)
        state.scaler.unscale_(state.optimizer)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        nn.utils.clip_grads_with_norm_(self._parameters, MAX_GRADIENT_NORM, norm)
        is_bad = norm.isfinite().logical_not().float()
        step_unless(state.optimizer, is_bad)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.ema.update()  # of weights that stayed as they were, if the gradients were bad
        self._pending = _Verdict(is_bad, state.progress.epoch, state.progress.batch)

    def settle(self) -> None:
        """Count the last update as made or skipped; call it before the progress of `state` is stored.

        Raises:
            NumericsError: 20 updates in a row were not finite, or the batch-norm statistics are not.
        """
        verdict, self._pending = self._pending, None
        if verdict is None:
            return
        progress = self._state.progress
        if not verdict.is_bad():
            progress.skipped_updates = 0
            return
        self._refuse_poisoned_statistics(verdict)
        progress.skipped_updates += 1
        if progress.skipped_updates >= MAX_SKIPPED_UPDATES:
            raise NumericsError(
                f"{MAX_SKIPPED_UPDATES} updates in a row had gradients that are not finite, {verdict.moment}",
                hint="lower `lr0`, or set `amp` to off, in a new run with `--weights`; the last checkpoint is finite",
            )

    def _refuse_poisoned_statistics(self, verdict: _Verdict) -> None:
        """An update can be left out, but not what a forward pass did to the batch-norm statistics."""
        poisoned = [name for name, buffer in self._state.model.named_buffers() if not buffer.isfinite().all()]
        if poisoned:
            raise NumericsError(
                f"batch-norm statistics `{poisoned[0]}` are not finite {verdict.moment}",
                hint="lower `lr0`, or set `amp` to off, in a new run with `--weights`; the last checkpoint is finite",
            )


class _Verdict:
    """Whether the gradients of an update were bad, on its way from the device to the host."""

    def __init__(self, is_bad: Tensor, epoch: int, batch: int) -> None:
        self.moment = f"at epoch {epoch}, batch {batch}"
        self._value = is_bad.to("cpu", non_blocking=is_bad.is_cuda)
        self._copied = torch.cuda.Event() if is_bad.is_cuda else None  # type: ignore[no-untyped-call]
        if self._copied is not None:
            self._copied.record()

    def is_bad(self) -> bool:
        """Waits only if the device has not yet come to that update."""
        if self._copied is not None:
            self._copied.synchronize()
        return bool(self._value.numpy())
