"""Learning an energy on a manifold by maximum likelihood: kernels around the data, corrected by a network.

    p(x) = q(x) exp(-f(x)) / Z,     minimise  1/n sum_i f(x_i) + log E_q exp(-f) + lambda a^2 E_q |grad f|^2

q are the tangent kernels of many widths (`distributions.energy.tangent_kernels`), exactly normalised, f a bounded network (`correction_network`). E_q is a mean
over fresh draws of q, so the gradient has no bias from chains, and the weights exp(-f) stay within exp(+-b): the effective sample size cannot collapse, in any
dimension. q follows what is sharp, f what q smooths away: the linear part of f gives p the mean of the data, which kernels shrink. The run is stopped, and the
weights are kept, where the held-out likelihood is best.
Ross, Loaiza-Ganem, Caterini, Cresswell (2023), Neural implicit manifold learning, for energies on
learned manifolds (there with unadjusted chains); Gutmann, Hyvarinen (2012), for the use of a known distribution as reference; Arbel, Zhou, Gretton (2021),
Generalized energy based models.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from topogen.distributions.energy.correction_network import CorrectionNetwork
from topogen.distributions.energy.energy import Energy
from topogen.distributions.energy.tangent_kernels import fit_kernels
from topogen.distributions.uniform.uniform import LARGEST_DIMENSION, Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.training.trainer import EarlyStopping, Settings, TrainingReport, TrainingState, train

__all__ = ["FittedEnergy", "fit_energy"]

DEFAULTS = Settings(steps=1500, batch_size=512, rate=1e-3, held_out=0.1, measure_every=50)
POOL = 60_000
DRAWS = 2048
SMOOTHNESS = 3e-3


@dataclass(frozen=True)
class FittedEnergy:
    """The `distribution` (an `Energy` that tilts kernels), the trainer's `report` and `notes` on what was found."""

    distribution: Energy
    report: TrainingReport
    notes: tuple[str, ...]


def fit_energy(
    points: Tensor,
    manifold: Manifold,
    *,
    uniform: Uniform | None = None,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedEnergy:
    """Learn an energy on M from points (n, D) on or near it; those that have no projection are left out.

    `uniform` is the uniform distribution on M where it is known already (up to dimension 3 it is made otherwise; above, kernels do without).
    Raises InvalidInputError for too few points that project, DivergenceError when training fails.
    """
    found = manifold.project(points.detach().double())
    data = found.points[found.converged]
    if len(data) < max(20, manifold.dim + 2):
        raise InvalidInputError(f"points: {len(data)} of {len(points)} project onto the manifold, an energy needs at least 20")
    if uniform is None and manifold.dim <= LARGEST_DIMENSION:
        uniform = Uniform(manifold, points=data, generator=generator)
    kernels = fit_kernels(manifold, data, uniform=uniform, generator=generator)
    network = CorrectionNetwork(data.mean(0), _spread(data), generator=generator)
    learner = _Learner(network, kernels.sample((POOL,), generator=generator).float())
    _match_mean(learner, data.float())
    best = _KeepBest(learner, data.float())
    report = train(
        learner, data.float(), (settings or Settings()).filled(DEFAULTS), generator=generator, callbacks=[best, EarlyStopping(patience=8, after=0.1)],
        checkpoint=checkpoint, label="energy", quiet=quiet,
    )  # fmt: skip
    best.restore()
    distribution = Energy(manifold, network.requires_grad_(False), proposal=kernels, tilt=True, generator=generator)
    share = float(kernels.weights[-1]) if uniform is not None else 0.0
    notes = (
        f"density: energy, {len(data)} kernels of {len(kernels.widths)} widths ({100 * share:.2g} % uniform); their correction adds {-best.best:.3f} nats, "
        + (f"best after {best.step} steps of training" if best.step else "training beyond the mean of the data did not help on held-out points"),
    )
    return FittedEnergy(distribution, report, notes)


class _Learner(nn.Module):
    """The objective above."""

    def __init__(self, network: CorrectionNetwork, pool: Tensor) -> None:
        super().__init__()
        self.network = network
        self.pool = pool

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Scalar over rows (n, D); the draws of q are taken from the pool by `generator`."""
        drawn = self.pool[torch.randint(len(self.pool), (DRAWS,), generator=generator)]
        return self.likelihood(points, drawn) + SMOOTHNESS * self._roughness(drawn[: DRAWS // 4])

    def likelihood(self, points: Tensor, drawn: Tensor) -> Tensor:
        """Mean of f over the data plus log of the mean of exp(-f) over draws of q: minus what the network adds to the log likelihood."""
        return cast(Tensor, self.network(points)).mean() + torch.logsumexp(-self.network(drawn), 0) - math.log(len(drawn))

    def _roughness(self, points: Tensor) -> Tensor:
        at = points.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.network(at).sum(), at, create_graph=torch.is_grad_enabled())
        return self.network.get_buffer("scale") ** 2 * gradient.square().sum(-1).mean()


class _KeepBest:
    """Remembers the weights of the best held-out loss, those of the start as long as nothing beats what they reach on all the data."""

    def __init__(self, learner: _Learner, data: Tensor) -> None:
        self.learner = learner
        self.weights: dict[str, Any] = copy.deepcopy(learner.network.state_dict())
        with torch.no_grad():
            self.best = float(learner.likelihood(data, learner.pool))
        self.step = 0

    def begin(self, state: TrainingState) -> None:
        """Nothing to do before a step."""

    def measured(self, state: TrainingState) -> None:
        """Keep the weights where the held-out loss has fallen."""
        if state.held_out < self.best:
            self.best, self.step = state.held_out, state.step
            self.weights = copy.deepcopy(self.learner.network.state_dict())

    def restore(self) -> None:
        """Back to the best weights."""
        self.learner.network.load_state_dict(self.weights)


def _match_mean(learner: _Learner, data: Tensor, rounds: int = 20) -> None:
    """Newton's method on the linear part alone, which is convex and ends where p has the mean of the data."""
    network = learner.network
    y, z = (((part - network.get_buffer("centre")) / network.get_buffer("scale")).double() for part in (data, learner.pool))
    linear = torch.zeros(y.shape[1], dtype=torch.float64)
    for _ in range(rounds):
        weight = torch.softmax(-z @ linear, 0)
        mean = weight @ z
        covariance = (z - mean).T @ (weight.unsqueeze(1) * (z - mean))
        step = torch.linalg.lstsq(covariance + 1e-9 * torch.eye(len(mean), dtype=torch.float64), (mean - y.mean(0)).unsqueeze(1)).solution.squeeze(1)
        linear = linear + step
        if float(step.norm()) < 1e-9:
            break
    with torch.no_grad():
        network.linear.copy_(linear.float())


def _spread(points: Tensor) -> float:
    return float((points - points.mean(0)).square().sum(1).mean().sqrt()) or 1.0
