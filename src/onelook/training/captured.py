"""Passes of a network and of its loss, recorded once on tensors that stay where they are, and then replayed.

On a GPU each recording is a CUDA graph: one launch instead of hundreds. A step has four: the loss, which comes in
different lengths, between forward and backward pass of the network. After the partial-network capture of PyTorch's
documentation ("CUDA semantics", section "CUDA graphs").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from onelook.losses.protocol import LossTerms, TrainingLoss
from onelook.structures.batch import Targets

Results = tuple[Tensor | None, ...]
MOST_RECORDINGS = 32  # per loss; lengths of targets that come twice after that are not recorded
MOST_REMEMBERED = 256  # lengths of targets that came once
WARM_UP_ROUNDS = 3  # libraries choose and prepare their kernels at first, which cannot be recorded


@dataclass(frozen=True)
class Recording:
    """Work that can be done again.

    Attributes:
        results: the tensors that it leaves its results in, each time.
        replay: does it once more.
    """

    results: Results
    replay: Callable[[], None]


class Recorder(Protocol):
    """Records work that reads and writes tensors which stay where they are."""

    def warm_up(self, work: Callable[[], object]) -> None:
        """Do `work` a few times where it will be recorded."""
        ...

    def record(self, work: Callable[[], Results]) -> Recording:
        """Record `work`; it may or may not be run at the same time."""
        ...

    def apart(self) -> Recorder:
        """Another recorder, for work that is replayed between recordings of this one."""
        ...


class CudaRecorder:
    """Records CUDA graphs, in memory of their own that all of them share: no two are ever under way together."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], object]) -> None:
        """Do `work` on the stream that it will be recorded on."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_ROUNDS):
                work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], Results]) -> Recording:
        """A CUDA graph of `work`, which is not done now."""
        graph = torch.cuda.CUDAGraph()
        # Threads that pin memory or exchange gradients go on meanwhile: only this one keeps to what can be recorded.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            results = work()
        return Recording(results, graph.replay)

    def apart(self) -> CudaRecorder:
        """Another recorder, with memory of its own."""
        return CudaRecorder()


class CapturedNetwork:
    """A network for images of one shape, as two recordings; call and differentiate it like the network.

    The first call runs the network as it is, to learn in which layout the gradients of its raw maps come: it decides in
    which order kernels add. The second call records. Each call overwrites the raw maps of the one before.

    Args:
        model: a model in training mode; always called under the same autocast.
    """

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self._model = model
        self._recorder = recorder
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._images = torch.empty(0)
        self._maps: list[Tensor] = []
        self._map_gradients: dict[int, Tensor] = {}
        self._recordings: tuple[Recording, Recording] | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether calls are replays already."""
        return self._recordings is not None

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Raw maps of (B, 3, H, W) images, with gradient."""
        if not self._map_gradients:
            raw_maps: list[Tensor] = self._model(images)
            for number, raw_map in enumerate(raw_maps):
                raw_map.register_hook(partial(self._note_layout, number))  # type: ignore[no-untyped-call]
            return raw_maps
        if self._recordings is None:
            self._record(images)
        return list(_Replay.apply(self, images, *self._parameters))  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Results:
        """The raw maps of `images`, without gradient."""
        assert self._recordings is not None
        self._images.copy_(images)
        self._recordings[0].replay()
        return tuple(raw_map.detach() for raw_map in self._recordings[0].results if raw_map is not None)

    def backward(self, map_gradients: Sequence[Tensor]) -> Results:
        """The gradients of the parameters that learn, given those of the last raw maps; None for unused parameters."""
        assert self._recordings is not None
        torch._foreach_copy_(list(self._map_gradients.values()), [map_gradients[i] for i in self._map_gradients])
        self._recordings[1].replay()
        results = self._recordings[1].results
        # Copies, since the next replay overwrites these tensors.
        fresh = iter(torch._foreach_mul([gradient for gradient in results if gradient is not None], 1.0))
        return tuple(None if gradient is None else next(fresh) for gradient in results)

    def _note_layout(self, number: int, gradient: Tensor) -> None:
        has_room = all(stride or size == 1 for size, stride in zip(gradient.shape, gradient.stride(), strict=True))
        strides = gradient.stride() if has_room else torch.empty_like(gradient).stride()
        self._map_gradients[number] = gradient.new_empty_strided(gradient.shape, strides).zero_()

    def _record(self, images: Tensor) -> None:
        """Record both passes; batch-norm statistics stay as they are."""
        self._images = images.clone()
        buffers = list(self._model.buffers())
        before = [buffer.clone() for buffer in buffers]
        self._recorder.warm_up(lambda: (self._run_forward(), self._run_backward()))
        self._recordings = self._recorder.record(self._run_forward), self._recorder.record(self._run_backward)
        self._maps = []  # else parameters would go on to take gradients on the recorder's stream, and wait for each
        torch._foreach_copy_(buffers, before)

    def _run_forward(self) -> Results:
        with torch.enable_grad():
            self._maps = self._model(self._images)
        return tuple(raw_map.detach() for raw_map in self._maps)

    def _run_backward(self) -> Results:
        maps = [self._maps[number] for number in self._map_gradients]
        return torch.autograd.grad(maps, self._parameters, list(self._map_gradients.values()), allow_unused=True)


class CapturedLoss:
    """A loss that is recorded for each length of targets when it comes for the second time; call it like the loss.

    All recordings for maps of one form share these maps and their gradients, and what was prepared if it has the same
    shape, such as what a teacher says: a gradient lasts until the next replay. What moves from step to step is not
    recorded.
    """

    def __init__(self, loss: TrainingLoss, recorder: Recorder) -> None:
        self._loss = loss
        self._recorder = recorder
        self._shared: dict[Any, _SharedMaps] = {}
        self._seen: dict[Any, None] = {}
        self._recorded: dict[Any, _RecordedLoss] = {}

    def __call__(self, raw_maps: Sequence[Tensor], targets: Targets, progress: float) -> LossTerms:
        """See `TrainingLoss`."""
        if self._loss.is_moving:
            return self._loss(raw_maps, targets, progress)
        prepared = self._loss.prepare(raw_maps, targets, progress)
        forms = tuple((raw_map.shape, raw_map.stride(), raw_map.dtype) for raw_map in raw_maps)
        key = (*forms, *(leaf.shape if isinstance(leaf, Tensor) else leaf for leaf in _leaves(prepared)))
        if key not in self._recorded:
            if not self._is_worth_recording(key):
                return self._loss.terms(raw_maps, prepared)
            if forms not in self._shared:
                self._shared[forms] = _SharedMaps.like(raw_maps)
            shared = self._shared[forms]
            self._recorded[key] = _RecordedLoss(self._loss, shared, prepared, recorder=self._recorder)
        recorded = self._recorded[key]
        total, values = _Replay.apply(recorded, (raw_maps, prepared), *raw_maps)  # type: ignore[no-untyped-call]
        return LossTerms(total, values.detach())

    def _is_worth_recording(self, key: Any) -> bool:
        """Whether a key came before and there is room for a recording; keys that came once, long ago, are forgotten."""
        if key in self._seen:
            return len(self._recorded) < MOST_RECORDINGS
        self._seen[key] = None
        if len(self._seen) > MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False


@dataclass(frozen=True)
class _SharedMaps:
    """What all recordings of a loss for maps of one form share: no two of them ever run at the same time.

    Attributes:
        maps, gradients: raw maps and their gradients.
        prepared: copies of what was prepared for a loss, by path and shape.
    """

    maps: list[Tensor]
    gradients: list[Tensor]
    prepared: dict[Any, Tensor] = field(default_factory=dict)

    @classmethod
    def like(cls, raw_maps: Sequence[Tensor]) -> _SharedMaps:
        """A copy of these maps, and room for gradients."""
        maps = [raw_map.detach().clone() for raw_map in raw_maps]
        return cls([raw_map.requires_grad_() for raw_map in maps], [torch.empty_like(raw_map) for raw_map in maps])


class _RecordedLoss:
    """Two recordings of a loss, for maps of the form of the shared ones and targets of the shapes of those given."""

    def __init__(self, loss: TrainingLoss, shared: _SharedMaps, prepared: Any, *, recorder: Recorder) -> None:
        self._loss = loss
        self._shared = shared
        self._prepared = _kept(prepared, shared.prepared)
        self._weight = torch.ones((), device=shared.maps[0].device)
        self._total = self._weight
        recorder.warm_up(lambda: (self._run_forward(), self._run_backward()))
        self._recordings = recorder.record(self._run_forward), recorder.record(self._run_backward)

    def forward(self, given: tuple[Sequence[Tensor], Any]) -> Results:
        """Total and terms of the loss for maps and what was prepared for them."""
        raw_maps, prepared = given
        with torch.no_grad():
            torch._foreach_copy_(self._shared.maps, list(raw_maps))
            for own, value in zip(_leaves(self._prepared), _leaves(prepared), strict=True):
                if isinstance(own, Tensor):
                    own.copy_(value)
        self._recordings[0].replay()
        return tuple(result.clone() for result in self._recordings[0].results if result is not None)

    def backward(self, gradients: Sequence[Tensor]) -> Results:
        """The gradients of the maps, which the next replay overwrites."""
        self._weight.copy_(gradients[0])
        self._recordings[1].replay()
        return tuple(self._shared.gradients)

    def _run_forward(self) -> Results:
        with torch.enable_grad():
            terms = self._loss.terms(self._shared.maps, self._prepared)
        self._total = terms.total
        return terms.total.detach(), terms.values

    def _run_backward(self) -> Results:
        gradients = torch.autograd.grad(self._total, self._shared.maps, self._weight)
        torch._foreach_copy_(self._shared.gradients, gradients)
        return ()


def _leaves(prepared: Any) -> list[Any]:
    """The fields of a dataclass, and of those in it; tuples are taken apart, too."""
    if isinstance(prepared, tuple):
        return [leaf for part in prepared for leaf in _leaves(part)]
    if not is_dataclass(prepared):
        return [prepared]
    return [leaf for member in fields(prepared) for leaf in _leaves(getattr(prepared, member.name))]


def _kept(prepared: Any, stored: dict[Any, Tensor], path: tuple[Any, ...] = ()) -> Any:
    """What was prepared, with copies of its tensors, which are kept in `stored` and reused."""
    if isinstance(prepared, Tensor):
        key = (*path, prepared.shape, prepared.dtype)
        if key not in stored:
            stored[key] = prepared.clone()
        return stored[key]
    if isinstance(prepared, tuple):
        return tuple(_kept(part, stored, (*path, number)) for number, part in enumerate(prepared))
    if not is_dataclass(prepared) or isinstance(prepared, type):
        return prepared
    names = [member.name for member in fields(prepared)]
    return replace(prepared, **{name: _kept(getattr(prepared, name), stored, (*path, name)) for name in names})


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recorded: CapturedNetwork | _RecordedLoss, given: Any, *_: Tensor) -> Results:
        ctx.recorded = recorded
        return recorded.forward(given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Results:
        return None, None, *ctx.recorded.backward(gradients)
