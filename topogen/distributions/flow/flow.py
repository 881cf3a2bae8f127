"""The density that flow matching learns on a manifold: the base carried along dx/dt = P f(x, t) from t = 0 to t = 1.

Lipman et al. (2023), Flow matching for generative modeling; Chen, Lipman (2024), Flow matching on general geometries.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from topogen.distributions.fields.continuous_flow import ContinuousFlow

__all__ = ["FlowMatching"]


@final
class FlowMatching(ContinuousFlow):
    """dx/dt = P f(x, t); the base at t = 0, the data at t = 1 (`distributions.flow.fit` fits the field)."""

    @property
    def span(self) -> tuple[float, float]:
        """(0, 1)."""
        return 0.0, 1.0

    def _share(self, time: Tensor) -> Tensor:
        return time

    def _gain(self, time: Tensor) -> Tensor:
        return torch.ones_like(time)
