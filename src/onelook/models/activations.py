"""Activation functions, and the words by which a model definition names them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from onelook.errors import ModelError


class SiLU(nn.SiLU):
    """x * sigmoid(x), in place where no gradient is recorded.

    With gradients an in-place SiLU is slower: autograd must copy the input first.
    """

    def __init__(self, inplace: bool = True) -> None:
        super().__init__(inplace=inplace)

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace and not torch.is_grad_enabled())


class FReLU(nn.Module):
    """max(x, T(x)) with T a depth-wise convolution: Ma et al., Funnel Activation for Visual Recognition, 2020."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.bn(self.conv(x)))


class AconC(nn.Module):
    """(p1 - p2) x sigmoid(beta (p1 - p2) x) + p2 x, per channel: Ma et al., Activate or Not, 2021."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p1 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.p2 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scaled = (self.p1 - self.p2) * x
        return scaled * torch.sigmoid(self.beta * scaled) + self.p2 * x


class MetaAconC(nn.Module):
    """AconC whose beta comes from the mean of the map, through two 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(16, channels // 16)
        self.p1 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.p2 = nn.Parameter(torch.randn(1, channels, 1, 1))
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        beta = torch.sigmoid(self.fc2(self.fc1(x.mean(dim=(2, 3), keepdim=True))))
        scaled = (self.p1 - self.p2) * x
        return scaled * torch.sigmoid(beta * scaled) + self.p2 * x


@dataclass(frozen=True)
class Activation:
    """How a name in a definition becomes a module.

    Attributes:
        make: the class; called with the channel count if `per_channel`, and with the parameters by keyword.
        parameters: numbers that may be given, in order.
        has_inplace: whether it can work in place.
        per_channel: whether it has weights for each channel.
    """

    make: Callable[..., nn.Module]
    parameters: tuple[str, ...] = ()
    has_inplace: bool = True
    per_channel: bool = False


ACTIVATIONS: dict[str, Activation] = {
    "SiLU": Activation(SiLU),
    "ReLU": Activation(nn.ReLU),
    "ReLU6": Activation(nn.ReLU6),
    "LeakyReLU": Activation(nn.LeakyReLU, ("negative_slope",)),
    "ELU": Activation(nn.ELU, ("alpha",)),
    "Hardswish": Activation(nn.Hardswish),
    "Mish": Activation(nn.Mish),
    "MemoryEfficientMish": Activation(nn.Mish),
    "GELU": Activation(nn.GELU, has_inplace=False),
    "Tanh": Activation(nn.Tanh, has_inplace=False),
    "Sigmoid": Activation(nn.Sigmoid, has_inplace=False),
    "Identity": Activation(nn.Identity, has_inplace=False),
    "FReLU": Activation(FReLU, has_inplace=False, per_channel=True),
    "AconC": Activation(AconC, has_inplace=False, per_channel=True),
    "MetaAconC": Activation(MetaAconC, has_inplace=False, per_channel=True),
}

ActivationFactory = Callable[[int], nn.Module]
"""Gives a fresh activation for a map of so many channels."""


def parse_activation(text: str) -> ActivationFactory:
    """The factory that a text such as `nn.LeakyReLU(0.1)` stands for; read by table, never evaluated.

    Raises:
        ModelError: the name is not in `ACTIVATIONS`, or an argument is not a number that it takes.

    >>> parse_activation("nn.LeakyReLU(0.1)")(64)
    LeakyReLU(negative_slope=0.1)
    """
    match = re.fullmatch(r"(?:nn\.)?(\w{1,40})(?:\(([^()]{0,80})\))?", text.strip())
    if match is None or match[1] not in ACTIVATIONS:
        raise ModelError(f"activation `{text}` is not known", hint=f"use one of {', '.join(ACTIVATIONS)}")
    activation = ACTIVATIONS[match[1]]
    keywords = _parse_keywords(text, match[2] or "", activation)

    def make(channels: int) -> nn.Module:
        return activation.make(*([channels] if activation.per_channel else []), **keywords)

    return make


def _parse_keywords(text: str, inside: str, activation: Activation) -> dict[str, float | bool]:
    keywords: dict[str, float | bool] = {}
    for position, argument in enumerate(part.strip() for part in inside.split(",") if part.strip()):
        name, _, value = (piece.strip() for piece in argument.rpartition("="))
        if not name and position < len(activation.parameters):
            name = activation.parameters[position]
        if name == "inplace" and activation.has_inplace and value in {"True", "False"}:
            keywords[name] = value == "True"
        elif name in activation.parameters and re.fullmatch(r"-?\d{0,6}\.?\d{1,9}(e-?\d)?", value):
            keywords[name] = float(value)
        else:
            takes = ", ".join([*activation.parameters, *(["inplace"] if activation.has_inplace else [])]) or "nothing"
            raise ModelError(f"activation `{text}`: argument `{argument}` is not accepted", hint=f"it takes {takes}")
    return keywords
