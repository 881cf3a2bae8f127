"""Distributions that a learned field carries from an equilibrium to the data, within M: what diffusion and flow matching have in common.

    dx/dt = v(x, t),    v = P f  tangent,       log p_1(x) = log p_0(x_0) - int_0^1 div_M v(x_t, t) dt,      div_M (P f) = tr(P Df) + <f, H>

The field is an ambient network f projected to the tangents, so nothing is asked of M but to project, and the identity for the divergence needs one pass that
carries d directions, and no derivative of P. Points stay on M at every stage (`geometry.field_integration`).
Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations; Mathieu, Nickel (2020), Riemannian continuous normalizing flows.
"""

from __future__ import annotations

import abc
import copy
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.distributions.fields.components import Base
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.errors import InvalidInputError
from topogen.geometry.derivatives import NO_GRADIENT, underived
from topogen.geometry.field_integration import Drift, IntegratedField, integrate_field
from topogen.manifolds.base import Manifold

__all__ = ["ContinuousFlow", "settled"]

BATCH = 5000
TOLERANCE = 1e-3


class ContinuousFlow(Distribution, abc.ABC):
    """A density on M that a field makes out of a `base`.

    Args:
        base: where the motion begins, uniform on the components of M or a mixture over charts.
        field: f, copied and frozen; `context` of `sample` and `log_prob` goes to it.
        tolerance: error allowed per step of the integration.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(self, base: Base, field: FieldNetwork, *, tolerance: float = TOLERANCE) -> None:
        self.base, self.field, self.tolerance = base, copy.deepcopy(field).requires_grad_(False), tolerance
        self.manifold, self.fast = base.ground.manifold, base.ground.fast
        self.unit = float(field.get_buffer("scale"))
        super().__init__(torch.Size(), torch.Size((self.manifold.ambient_dim,)), validate_args=False)

    @property
    @abc.abstractmethod
    def span(self) -> tuple[float, float]:
        """The times of the base and of the data."""

    @abc.abstractmethod
    def _share(self, time: Tensor) -> Tensor:
        """The network's s (n,) in [0, 1] at times (n,)."""

    @abc.abstractmethod
    def _gain(self, time: Tensor) -> Tensor:
        """What P f is multiplied by (n,) to be the velocity at times (n,)."""

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    def sample(
        self,
        sample_shape: torch.Size | list[int] | tuple[int, ...] = (),
        generator: torch.Generator | None = None,
        *,
        context: Tensor | None = None,
        guidance: float = 1.0,
        steps: int | None = None,
    ) -> Tensor:
        """Points (*sample_shape, D) float64 of M, given `context` (c,) or (n, c) where the field was trained with one.

        `steps`: so many of equal length, instead of as many as the tolerance asks for.

        `guidance` w > 1 strengthens the context: f = (1 - w) f(x) + w f(x | context), which is no longer the model's own law (Ho, Salimans 2022).
        """
        shape = torch.Size(sample_shape)
        context = self.contexts_of(context, shape.numel())
        x = self.base.sample(shape.numel(), generator, context)
        begin, end = self.span
        parts = [self._flown(part, begin, end, _rows(context, rows), guidance, steps=steps).points for rows, part in _batches(x)]
        found = torch.cat(parts) if parts else x
        return settled(self.manifold, found).reshape(*shape, self.manifold.ambient_dim)

    def log_prob(self, value: Tensor, context: Tensor | None = None) -> Tensor:
        """log p (...) at the projections of points (..., D), in nats against the volume of M; -inf where there is none on M."""
        x = value.detach()
        found = self.manifold.project(x.double())
        flat = found.points.reshape(-1, value.shape[-1])
        context = self.contexts_of(context, len(flat))
        density = torch.full((len(flat),), -torch.inf, dtype=torch.float64)
        on = found.converged.reshape(-1)
        density[on] = self.log_density(flat[on], None if context is None else context[on])
        return underived(density.reshape(value.shape[:-1]).to(value.dtype), value, NO_GRADIENT)

    def log_density(self, points: Tensor, context: Tensor | None = None) -> Tensor:
        """log p (n,) at points (n, D) float64 that are on M."""
        end, begin = self.span
        parts = []
        for rows, part in _batches(points.detach()):
            flown = self._flown(self.fast.project(part).points, begin, end, _rows(context, rows), 1.0, divergence=True)
            # The divergence was gathered from the data to the base: minus what it is on the way back.
            logs = self.base.log_density(flown.points, _rows(context, rows)) + flown.divergence
            parts.append(torch.where(flown.ok, logs, -torch.inf))
        return underived(torch.cat(parts) if parts else points.new_zeros(0), points, NO_GRADIENT)

    def _flown(
        self, x: Tensor, begin: float, end: float, context: Tensor | None, guidance: float, *, divergence: bool = False, steps: int | None = None
    ) -> IntegratedField:
        drift = self._drift(context, guidance, divergence)
        return integrate_field(drift, self._held, x, begin, end, tolerance=self.tolerance, unit=self.unit, steps=steps)

    def _held(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.fast.project(x)
        return found.points, found.converged

    def _drift(self, context: Tensor | None, guidance: float, divergence: bool) -> Drift:
        def drift(x: Tensor, time: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            s, gain = self._share(time).float(), self._gain(time)
            given = None if context is None else context[rows]
            if not divergence:
                return gain.unsqueeze(1) * self._velocity(x, s, given, guidance), x.new_zeros(len(x))
            tangent, bend = self.fast.tangent_and_mean_curvature(x)
            value, slope = self.field.with_slopes(x, s, tangent.float(), given)
            value = value.double()
            spread = (slope.double() * tangent).sum((-2, -1)) + (value * bend).sum(-1)
            return gain.unsqueeze(1) * _tangential(tangent, value), gain * spread

        return drift

    def _velocity(self, x: Tensor, s: Tensor, context: Tensor | None, guidance: float) -> Tensor:
        value = self.field(x, s, context).double()
        if context is not None and guidance != 1.0:
            value = (1 - guidance) * self.field(x, s).double() + guidance * value
        return _tangential(self.fast.tangent_basis(x), value)

    def contexts_of(self, context: Tensor | None, n: int) -> Tensor | None:
        """A context (c,) or (n, c) as float32 rows (n, c), None without one; raises InvalidInputError where it does not fit the model."""
        if context is None:
            return None
        if not self.field.context:
            raise InvalidInputError("context: this model was fitted without one; pass context= to its fit")
        context = torch.as_tensor(context, dtype=torch.float32)
        context = context.expand(n, -1) if context.ndim == 1 else context
        if context.shape != (n, self.field.context):
            raise InvalidInputError(f"context: expected ({self.field.context},) or ({n}, {self.field.context}), found {tuple(context.shape)}")
        return context


def settled(manifold: Manifold, x: Tensor) -> Tensor:
    """Points (n, D) near M brought onto it as exactly as it is known."""
    found = manifold.with_fast_projection(gated=False, predicted=False).project(x)
    return torch.where(found.converged.unsqueeze(-1), found.points, x)


def _tangential(tangent: Tensor, value: Tensor) -> Tensor:
    return (tangent @ (tangent.mT @ value.unsqueeze(-1))).squeeze(-1)


def _batches(x: Tensor) -> list[tuple[slice, Tensor]]:
    return [(slice(i, i + BATCH), x[i : i + BATCH]) for i in range(0, len(x), BATCH)]


def _rows(context: Tensor | None, rows: slice) -> Tensor | None:
    return None if context is None else context[rows]
