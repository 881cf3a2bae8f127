"""Layers of networks whose first weights come from the caller's generator: torch's own start draws from the global one."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["linear"]


def linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear layer with weights and biases uniform within 1 / sqrt(inputs), torch's own law.

    LeCun, Bottou, Orr, Mueller (1998), Efficient backprop.
    """
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
