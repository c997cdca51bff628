"""Parameter groups and the optimiser; what the learning rate is at a step is the schedule's business."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from onelook.settings.train import TrainSettings
from onelook.training.schedule import StepPlan

Kind = TypeVar("Kind", bound=Optimizer)
NORMALISATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def parameter_groups(model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Biases, decayed weights and normalisation weights: every parameter of `model` in exactly one of them.

    Parameters that are neither a bias nor owned by a normalisation layer are decayed, whatever they are called.
    """
    biases: dict[int, Tensor] = {}  # by identity: layers may share one
    decayed: dict[int, Tensor] = {}
    norms: dict[int, Tensor] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias" or name.endswith("_bias"):
                biases[id(parameter)] = parameter
            elif isinstance(module, NORMALISATIONS):
                norms[id(parameter)] = parameter
            else:
                decayed[id(parameter)] = parameter
    return list(biases.values()), list(decayed.values()), list(norms.values())


def create_optimizer(model: nn.Module, settings: TrainSettings, weight_decay: float) -> Optimizer:
    """The optimiser of `settings` over three groups, in the order of `parameter_groups`.

    Args:
        settings: `optimizer` (no longer auto), `lr0` and `momentum` are used.
        weight_decay: already scaled to the images per update.
    """
    biases, decayed, norms = parameter_groups(model)
    groups: list[dict[str, Any]] = [
        {"params": biases, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": weight_decay},
        {"params": norms, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "SGD":
        nesterov = settings.momentum > 0
        return _uncompiled(SGD)(groups, lr=settings.lr0, momentum=settings.momentum, nesterov=nesterov, fused=True)
    adaptive: dict[str, type[Adam]] = {"Adam": Adam, "AdamW": AdamW}
    kind = _uncompiled(adaptive[settings.optimizer])
    return kind(groups, lr=settings.lr0, betas=(settings.momentum, 0.999), fused=True)


def apply_plan(optimizer: Optimizer, plan: StepPlan) -> None:
    """Set the learning rates of all groups and the momentum of SGD to those of `plan`."""
    for number, group in enumerate(optimizer.param_groups):
        is_bias_group = number == 0 and group["weight_decay"] == 0
        group["lr"] = plan.lr_bias if is_bias_group else plan.lr
        if "momentum" in group:
            group["momentum"] = plan.momentum


def step_unless(optimizer: Optimizer, skip: Tensor) -> None:
    """`optimizer.step()`, which changes nothing at all if `skip` is 1; the device decides, the host does not wait.

    Fused optimizers obey `found_inf`, the way a `GradScaler` speaks to them. A skipped first step of SGD would leave
    its new momentum buffers uninitialised, so they are made here: of zeros, which gives the same first step.

    Args:
        skip: 0-d float32, 0 or 1, on the device of the parameters.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    setattr(optimizer, "found_inf", skip)  # noqa: B010 - torch declares no such attribute
    try:
        optimizer.step()
    finally:
        delattr(optimizer, "found_inf")


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `{state name}/{parameter name}`."""
    found = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{key}/{name}"] = value
    return found


def restore_optimizer(optimizer: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, on each parameter's device and in its memory layout."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        state_name, _, name = key.partition("/")
        parameter = parameters[name]
        if value.shape == parameter.shape:
            restored = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        else:
            restored = value.to(parameter.device)
        optimizer.state[parameter][state_name] = restored


def _uncompiled(kind: type[Kind]) -> type[Kind]:
    """`kind` without torch's marks for its compiler, which the first call of a marked method imports.

    The first step of SGD took 1.9 to 2.5 seconds of processor time with the marks and 0.01 without, three starts each
    (torch 2.13, CPU). Only networks are compiled here, optimisers never.
    """
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "zero_grad")}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)
