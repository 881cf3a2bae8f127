"""The reverse walk of a diffusion on M, and what it can be led to: a user's energy, or coordinates that are known.

    x <- proj(x + (s(x, u) - g) h + sqrt(h) xi),    u -> u - h,     xi ~ N(0, 1) in T_xM            predictor
    x <- proj(x + (s(x, u) - g) e / 2 + sqrt(e) xi),                e = u / 4                          corrector, at constant u

Starts are drawn from the base by exp(-energy); g is the tangential gradient of the energy at what x will become, proj(x + u s(x, u)) (Tweedie). Points
are on M at every step. The walk has the model's own law in the limit of many steps; what it is led to by an energy is approximate (exact: `Model.tilt`).
Levels are spread evenly in log u, steps are at most a quarter of the reach long.
De Bortoli et al. (2022), Riemannian score-based generative modelling; Song et al. (2021), Score-based generative modeling through SDEs (predictor, corrector);
Chung et al. (2023), Diffusion posterior sampling for general noisy inverse problems.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.fields.continuous_flow import settled
from topogen.errors import InvalidInputError
from topogen.sampling.brownian import STEP_OF_REACH, brownian_paths, longest_step
from topogen.sampling.kernels.noise import ambient_noise

__all__ = ["inpaint", "reverse_walk"]

Energy = Callable[[Tensor], Tensor]
STRIDE = 0.25
CORRECTED = 0.25
AGREED = 1e-6
CANDIDATES, IN_ALL = 64, 20_000


@torch.no_grad()
def reverse_walk(
    model: Diffusion,
    n: int,
    *,
    steps: int = 200,
    corrections: int = 0,
    context: Tensor | None = None,
    guidance: float = 1.0,
    energy: Energy | None = None,
    generator: torch.Generator | None = None,
    keep: int = 0,
    since: float = 0.0,
) -> Tensor:
    """n points (n, D) float64 of M by the reverse walk; with `keep` > 0 also that many stages of it, (keep + 1, n, D), the base first.

    `steps`: levels of u, each cut further where a step would be longer than a quarter of the reach; `corrections`: steps of the corrector per level;
    `energy` maps rows (n, D) to (n,), differentiable; `context`, `guidance`: as in `Diffusion.sample`. `since` (squared data units): stages are kept from
    so late a time on; what comes before the base is heat that runs from it, reversed. Raises InvalidInputError for counts below 1.
    """
    if min(n, steps) < 1 or min(corrections, keep) < 0:
        raise InvalidInputError(f"n, steps, corrections, keep: expected at least 1, 1, 0, 0, found {n}, {steps}, {corrections}, {keep}")
    walk = _Walk(model, context, guidance, energy, generator)
    x = walk.starts(n)
    levels = torch.logspace(math.log10(model.times[1]), math.log10(model.times[0]), steps + 1, dtype=torch.float64).tolist()
    stages = [x] if not keep else _before(model, x, torch.logspace(math.log10(max(since, levels[0])), math.log10(levels[-1]), keep + 1), generator)
    left = keep + 1 - len(stages)
    shown = {round(steps * (i + 1) / left) for i in range(left)}
    for i, (high, low) in enumerate(zip(levels, levels[1:], strict=False)):
        x = walk.down(x, high, low, noisy=i + 1 < steps)
        for _ in range(corrections):
            x = walk.corrected(x, low)
        if i + 1 in shown:
            stages.append(x)
    x = settled(model.manifold, x)
    return torch.stack([*stages[:-1], x]) if keep else x


def _before(model: Diffusion, x: Tensor, times: Tensor, generator: torch.Generator | None) -> list[Tensor]:
    """The base's points x (n, D) and where they were at those of the descending times that lie before it; all but the last time at most."""
    early = times[:-2][times[:-2] > 1.01 * model.times[1]].flip(0).double()
    return [*brownian_paths(model.fast, x, early - model.times[1], generator=generator).points.flip(0), x] if len(early) else [x]


@torch.no_grad()
def inpaint(model: Diffusion, known: Tensor, n: int, *, steps: int = 200, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Points (n, D) of M that agree with the coordinates `known` (D,), NaN where unknown, and a mask (n,) of those that do, to 1e-6 of the scale.

    The walk is led by |x_k - known|^2 / 2u on the known coordinates k and ends by Newton's method on M for x_k = known.
    Raises InvalidInputError where nothing is known, or nothing is unknown.
    """
    given = torch.isfinite(known)
    if known.shape != (model.manifold.ambient_dim,) or not bool(given.any()) or bool(given.all()):
        raise InvalidInputError(f"known: expected ({model.manifold.ambient_dim},) with NaN where coordinates are unknown, found {tuple(known.shape)}")
    target = known[given].double()
    walk = _Walk(model, None, 1.0, _beside(given, target, model.times[1]), generator)
    x = walk.starts(n)
    levels = torch.logspace(math.log10(model.times[1]), math.log10(model.times[0]), steps + 1, dtype=torch.float64).tolist()
    for i, (high, low) in enumerate(zip(levels, levels[1:], strict=False)):
        walk.energy = _beside(given, target, high)
        x = walk.down(x, high, low, noisy=i + 1 < steps)
    x = settled(model.manifold, _fitted(model, x, given, target))
    return x, (x[:, given] - target).norm(dim=-1) <= AGREED * model.unit


def _beside(given: Tensor, target: Tensor, time: float) -> Energy:
    """|x_k - known|^2 / 2u on the given coordinates."""
    return lambda y: (y[:, given] - target).square().sum(-1) / (2 * time)


def _fitted(model: Diffusion, x: Tensor, given: Tensor, target: Tensor, rounds: int = 20) -> Tensor:
    """Points moved within M so that their given coordinates are the target's, by damped Gauss-Newton in the tangent spaces."""
    for _ in range(rounds):
        basis = model.manifold.tangent_basis(x)
        step = torch.linalg.pinv(basis[:, given], rtol=1e-6) @ (target - x[:, given]).unsqueeze(-1)
        step = (basis @ step).squeeze(-1)
        step = step * (0.2 * model.unit / step.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp(max=1)
        x = settled(model.manifold, x + step)
    return x


class _Walk:
    """One run down: the field, what leads it, and how long its steps may be."""

    def __init__(self, model: Diffusion, context: Tensor | None, guidance: float, energy: Energy | None, generator: torch.Generator | None) -> None:
        self.model, self.context, self.guidance, self.energy, self.generator = model, context, guidance, energy, generator
        self.longest = (STRIDE / STEP_OF_REACH * longest_step(model.fast, model.base.ground.pool)) ** 2

    def starts(self, n: int) -> Tensor:
        """Points (n, D) of the base, each chosen by exp(-energy) among several where there is one: heat may not have mixed what the energy tells apart."""
        several = 1 if self.energy is None else max(CANDIDATES, IN_ALL // n)
        context = self.model.contexts_of(self.context, n)
        found = self.model.base.sample(n * several, self.generator, None if context is None else context.repeat_interleave(several, 0))
        if self.energy is None:
            return found
        weight = torch.softmax(-_checked(self.energy, found).unflatten(0, (n, several)), 1)
        return found.unflatten(0, (n, several))[torch.arange(n), torch.multinomial(weight, 1, generator=self.generator)[:, 0]]

    def down(self, x: Tensor, high: float, low: float, *, noisy: bool) -> Tensor:
        """From u = high to low; without noise in the last step of a run."""
        count = max(1, math.ceil((high - low) / self.longest))
        h = (high - low) / count
        for i in range(count):
            x = self._moved(x, high - i * h, h, h if noisy or i + 1 < count else 0.0)
        return x

    def corrected(self, x: Tensor, time: float) -> Tensor:
        """One Langevin step at the law of u = time."""
        size = min(CORRECTED * time, self.longest)
        return self._moved(x, time, size / 2, size)

    def _moved(self, x: Tensor, time: float, drift: float, variance: float) -> Tensor:
        time = min(max(time, self.model.times[0]), self.model.times[1])
        score = self.model.score(x, time, self.context, self.guidance)
        score = score if self.energy is None else score - self._pull(self.energy, x, score, time)
        noise = ambient_noise(x, self.generator)[:, : self.model.manifold.dim]
        basis = self.model.fast.tangent_basis(x)
        step = drift * score
        step = step * (math.sqrt(self.longest) / step.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp(max=1)
        found = self.model.fast.project(x + step + math.sqrt(variance) * (basis @ noise.unsqueeze(-1)).squeeze(-1))
        return torch.where(found.converged.unsqueeze(-1), found.points, x)

    def _pull(self, energy: Energy, x: Tensor, score: Tensor, time: float) -> Tensor:
        """The tangential gradient (n, D) of the energy where x is expected to go."""
        ahead = time * score
        ahead = ahead * (self.model.unit / ahead.norm(dim=-1, keepdim=True).clamp_min(1e-300)).clamp(max=1)
        end = self.model.fast.project(x + ahead).points.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(_checked(energy, end).sum(), end)
        return self.model.fast.proju(x, gradient.double())


def _checked(energy: Energy, x: Tensor) -> Tensor:
    value = energy(x)
    if value.shape != (len(x),):
        raise InvalidInputError(f"energy: expected ({len(x)},) for {len(x)} rows, found {tuple(value.shape)}")
    return value
