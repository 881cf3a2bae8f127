"""Gaussian noise in the shape of a batch, from the caller's generator."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ambient_noise"]


def ambient_noise(points: Tensor, generator: torch.Generator | None) -> Tensor:
    """xi ~ N(0, I) of the shape, dtype and device of `points`, drawn on the CPU so that the device does not change the draws."""
    return torch.randn(points.shape, dtype=points.dtype, generator=generator).to(points.device)
