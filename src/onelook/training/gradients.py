"""The gradient of a batch that is computed in micro-batches, in one process or in many, summed in a fixed order.

A batch of n images is cut into V micro-batches; process r of W computes V / W neighbouring ones. The gradient of a
micro-batch is a sum over its images, and that of the batch is the sum over its micro-batches: the same, bit for bit,
for one process with two micro-batches and two processes with one. With more processes the order in which a network adds
is its own; `strict` adds in the order of the micro-batches whatever their process, so that then any number of processes
gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from onelook.processes.process_group import ProcessGroup

BUCKET_BYTES = 25 * 2**20
STRICT_CHUNK = 2**20


def micro_batch_bounds(num_samples: int, num_micro_batches: int) -> list[int]:
    """Where the micro-batches of a batch begin, and where the last one ends; with too few images some are empty.

    >>> micro_batch_bounds(10, 4)
    [0, 2, 5, 7, 10]
    """
    return [micro_batch * num_samples // num_micro_batches for micro_batch in range(num_micro_batches + 1)]


class GradientSum:
    """Collects the gradients of a batch's micro-batches in `parameter.grad`, on top of those of earlier batches.

    For every batch: `begin`, then for every micro-batch of this process the backward pass and `end_micro_batch`, then
    `exchange` with the other processes, then `accept`; or `discard`, to repeat the batch.

    Args:
        num_micro_batches: V, a multiple of the number of processes.
        strict: whether to add in the order of the micro-batches.
    """

    def __init__(self, model: nn.Module, group: ProcessGroup, *, num_micro_batches: int, strict: bool = False) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._group = group
        self._is_strict = strict and group.world_size > 1
        self._buckets = _Buckets(self._parameters, group) if group.world_size > 1 and not strict else None
        self._earlier: list[Tensor | None] = []
        self._has_gradient = [False] * len(self._parameters)
        self._is_used: list[bool] | None = None
        self._strict_gradients: list[Tensor] = []
        self._done = 0
        self.cut(num_micro_batches)

    def cut(self, num_micro_batches: int) -> None:
        """From the next batch on, there are `num_micro_batches` micro-batches."""
        self._own_micro_batches = num_micro_batches // self._group.world_size

    def begin(self) -> None:
        """Put the gradients of earlier batches aside."""
        self._earlier = [parameter.grad for parameter in self._parameters]
        self._clear()
        self._strict_gradients = []
        self._done = 0
        self._arm_before_last()

    def end_micro_batch(self) -> None:
        """Note that the gradient of another micro-batch of this process is complete."""
        self._done += 1
        if self._is_used is None:
            known = zip(self._has_gradient, self._parameters, strict=True)
            self._has_gradient = [before or parameter.grad is not None for before, parameter in known]
        if self._is_strict:
            self._strict_gradients.append(_Flat(self._parameters).fill())
            self._clear()
        self._arm_before_last()

    def exchange(self) -> None:
        """Add up the micro-batches of all processes; those that a process did not compute count as zeros."""
        if self._buckets is not None:
            self._buckets.finish()
        if self._is_strict:
            self._add_in_order()
        if self._group.world_size > 1:
            self._leave_out_unused()

    def accept(self) -> None:
        """Leave in `parameter.grad` the sum over this batch and those before."""
        new: list[Tensor] = []
        before: list[Tensor] = []
        for parameter, earlier in zip(self._parameters, self._earlier, strict=True):
            if parameter.grad is None:
                parameter.grad = earlier
            elif earlier is not None:
                new.append(parameter.grad)
                before.append(earlier)
        if new:
            torch._foreach_add_(new, before)
        self._earlier = []

    def discard(self) -> None:
        """Leave in `parameter.grad` the sum over the batches before this one."""
        for parameter, earlier in zip(self._parameters, self._earlier, strict=True):
            parameter.grad = earlier
        self._earlier = []
        self._is_used = None

    def _leave_out_unused(self) -> None:
        """Keep a parameter without a gradient if no micro-batch gave it one: decay, for one, would act on zeros."""
        if self._is_used is None:
            votes = self._group.gather(torch.tensor(self._has_gradient, dtype=torch.uint8))
            self._is_used = torch.stack(votes).any(0).tolist()
        for parameter, is_used in zip(self._parameters, self._is_used, strict=True):
            if not is_used:
                parameter.grad = None

    def _arm_before_last(self) -> None:
        if self._buckets is not None and self._done == self._own_micro_batches - 1:
            self._buckets.arm()

    def _clear(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def _add_in_order(self) -> None:
        """Chunk by chunk: gather the micro-batches of all processes and add them one after the other."""
        while len(self._strict_gradients) < self._own_micro_batches:
            self._strict_gradients.append(_Flat(self._parameters).fill())
        own = torch.stack(self._strict_gradients)
        total = _Flat(self._parameters)
        for start in range(0, own.shape[1], STRICT_CHUNK):
            chunk = own[:, start : start + STRICT_CHUNK].contiguous()
            micro_batches = [micro_batch for gathered in self._group.gather(chunk) for micro_batch in gathered.unbind()]
            added = micro_batches[0]
            for micro_batch in micro_batches[1:]:
                added = added + micro_batch
            total.memory[start : start + STRICT_CHUNK] = added
        total.spread()
        self._strict_gradients = []


class _Buckets:
    """Sums gradients over several processes during the backward pass, in pieces that are sent in one fixed order.

    A parameter without a gradient counts as one of zeros.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], group: ProcessGroup) -> None:
        self._group = group
        buckets = _filled(parameters)
        self._bucket_of = {parameter: number for number, bucket in enumerate(buckets) for parameter in bucket}
        self._buckets = [_Flat(bucket) for bucket in buckets]
        self._is_armed = False
        self._missing = [0] * len(self._buckets)
        self._sent: list[Callable[[], None]] = []
        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(self._on_gradient)  # type: ignore[no-untyped-call]

    def arm(self) -> None:
        """From now on gradients are final: send each bucket when it is complete."""
        self._is_armed = True
        self._missing = [len(bucket.parameters) for bucket in self._buckets]

    def finish(self) -> None:
        """Send what is left, wait for all, and put the sums into `parameter.grad`."""
        self._is_armed = False
        while len(self._sent) < len(self._buckets):
            self._send()
        for bucket, wait in zip(self._buckets, self._sent, strict=True):
            wait()
            bucket.spread()
        self._sent = []

    def _on_gradient(self, parameter: Tensor) -> None:
        if not self._is_armed:
            return
        assert isinstance(parameter, nn.Parameter)
        self._missing[self._bucket_of[parameter]] -= 1
        while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
            self._send()

    def _send(self) -> None:
        self._sent.append(self._group.add_up(self._buckets[len(self._sent)].fill()))


def _filled(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Buckets of about 25 MiB, those first whose gradients come first: the last layers."""
    buckets: list[list[nn.Parameter]] = []
    room = 0
    for parameter in reversed(parameters):
        size = parameter.numel() * parameter.element_size()
        if not buckets or size > room:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(parameter)
        room -= size
    return buckets


class _Flat:
    """One flat buffer for the gradients of several parameters.

    Attributes:
        parameters: whose gradients; all of one type and on one device.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        sizes = [parameter.numel() for parameter in parameters]
        self.memory = parameters[0].new_empty(sum(sizes), requires_grad=False)
        parts = torch.split(self.memory, sizes)
        self._parts = [part.view(parameter.shape) for part, parameter in zip(parts, parameters, strict=True)]

    def fill(self) -> Tensor:
        """The buffer with the gradients in it; missing ones are zeros."""
        parts = zip(self._parts, self.parameters, strict=True)
        found = [(part, parameter.grad) for part, parameter in parts if parameter.grad is not None]
        if len(found) < len(self._parts):
            self.memory.zero_()
        if found:
            torch._foreach_copy_([part for part, _ in found], [gradient for _, gradient in found])
        return self.memory

    def spread(self) -> None:
        """Copy the buffer to `parameter.grad`, in the memory layout of each parameter."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
        torch._foreach_copy_([p.grad for p in self.parameters if p.grad is not None], self._parts)
