"""What density "auto" stands for: the simplest one that held-out data cannot tell from the best, of those that a budget of time allows to try.

Data that a test does not tell from uniform ones at 95 % get the uniform density, and nothing else is tried. Else a fifth of the data is set apart; densities
learn from the others in the order of their predicted cost, until the budget is spent. With L_j(x) the log density of candidate j at a held-out point and
b the best by its mean, candidate j is as good where

    mean(L_b - L_j) <= std(L_b - L_j) / sqrt(m),

and of those as good the cheapest is learned again from all data. Costs are predicted, not measured, so that the same seed chooses the same.
Breiman, Friedman, Olshen, Stone (1984), Classification and Regression Trees (the rule of one standard error).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from topogen.distributions.base import Density, DensityRequest, FittedDensity
from topogen.distributions.score_comparison import paired_difference
from topogen.distributions.uniform.uniform import LARGEST_DIMENSION, Uniform
from topogen.distributions.uniform.uniformity import LEAST_CELLS, PER_CELL, uniformity
from topogen.errors import TopogenError

__all__ = ["BUDGET_SECONDS", "choose_density"]

BUDGET_SECONDS = 120.0
LEVEL = 0.05
HELD_OUT = 0.2
LEAST = PER_CELL * LEAST_CELLS
SIMPLEST = "uniform"


@dataclass(frozen=True)
class _Tried:
    """A candidate, its predicted `seconds`, and its log densities (m,) at the held-out points, none where it failed, and why."""

    name: str
    seconds: float
    values: Tensor
    failure: str = ""


def choose_density(densities: Mapping[str, Density], request: DensityRequest, budget_seconds: float | None = None) -> FittedDensity:
    """The density chosen for a request, with notes on what was tried and what each reached.

    Args:
        densities: the table; entries without predicted `seconds` are not tried.
        request: the data, M and the generator.
        budget_seconds: for the candidates and the final fit together, 120 when None.
    """
    budget = BUDGET_SECONDS if budget_seconds is None else budget_seconds
    plain = densities[SIMPLEST].fit(request)
    stay = _stays_uniform(plain, request)
    if stay:
        return replace(plain, notes=(*plain.notes, f"density: uniform, {stay}"))
    names, left = _affordable(densities, request, budget)
    generator = request.generator
    learn, held = _split(request, generator)
    tried = [_try(densities[name], seconds, replace(learn, generator=_fork(generator)), held) for name, seconds in names.items()]
    chosen, told = _chosen([_Tried(SIMPLEST, 0.0, plain.distribution.log_prob(held)), *tried])
    fitted = plain if chosen == SIMPLEST else densities[chosen].fit(request)
    unknown = f"; not tried within {budget:.0f} s: {', '.join(left)}" if left else ""
    return replace(fitted, notes=(f"density: {chosen}, {told}{unknown}", *fitted.notes))


def _stays_uniform(plain: FittedDensity, request: DensityRequest) -> str:
    """Why nothing else is tried; "" where the data are not uniform."""
    if len(request.anchors) < LEAST:
        return f"as {len(request.anchors)} points tell little of a density"
    if request.manifold.dim > LARGEST_DIMENSION and not request.manifold.closed_form:
        return f"as uniform points are dear above dimension {LARGEST_DIMENSION}; name another density to have it learned"
    try:
        found = uniformity(request.anchors, cast(Uniform, plain.distribution), request.generator)
    except TopogenError as error:
        return f"as no uniform points could be drawn to compare the data with ({error})"
    if found.p_value < LEVEL:
        return ""
    return f"which the data do not contradict (chi-square on {found.cells} cells, p = {found.p_value:.2g})"


def _affordable(densities: Mapping[str, Density], request: DensityRequest, budget: float) -> tuple[dict[str, float], list[str]]:
    """Names and predicted seconds of what is tried, cheapest first, the final fit of the dearest among them counted; and what is left out."""
    manifold, n = request.manifold, len(request.points)
    allowed = {
        name: entry.seconds(n, manifold.dim, manifold.ambient_dim)
        for name, entry in densities.items()
        if name != SIMPLEST and entry.seconds is not None and (entry.highest_dim is None or manifold.dim <= entry.highest_dim)
    }
    taken: dict[str, float] = {}
    left = []
    for name in sorted(allowed, key=lambda each: allowed[each]):
        if sum(taken.values()) + 2 * allowed[name] <= budget:
            taken[name] = allowed[name]
        else:
            left.append(f"{name} (about {allowed[name]:.0f} s)")
    return taken, left


def _split(request: DensityRequest, generator: torch.Generator) -> tuple[DensityRequest, Tensor]:
    """The request for four fifths of the data, and the others (m, D) on M."""
    order = torch.randperm(len(request.anchors), generator=generator)
    held, learn = order.tensor_split([int(HELD_OUT * len(order))])
    points = request.anchors[learn]
    return replace(request, points=points, anchors=points, checkpoint=None), request.anchors[held]


def _try(entry: Density, seconds: float, request: DensityRequest, held: Tensor) -> _Tried:
    try:
        return _Tried(entry.name, seconds, entry.fit(request).distribution.log_prob(held))
    except (TopogenError, RuntimeError) as error:  # torch's factorisations fail with the second
        return _Tried(entry.name, seconds, held.new_zeros(0), str(error))


def _chosen(tried: list[_Tried]) -> tuple[str, str]:
    """The name of the cheapest that is as good as the best, and what each reached."""
    valid = [each for each in tried if len(each.values) and bool(torch.isfinite(each.values).all())]
    best = max(valid, key=lambda each: float(each.values.mean()), default=tried[0])
    good = [each for each in valid if _as_good(each, best)]
    chosen = min(good, key=lambda each: each.seconds, default=tried[0])
    return chosen.name, f"held-out log density: {', '.join(_said(each) for each in tried)}; the cheapest within one standard error of the best is taken"


def _as_good(candidate: _Tried, best: _Tried) -> bool:
    behind = paired_difference(best.values, candidate.values)
    return behind.value <= behind.standard_error


def _said(tried: _Tried) -> str:
    if not len(tried.values):
        return f"{tried.name} failed ({tried.failure})"
    lost = int((~torch.isfinite(tried.values)).sum())
    if lost:
        return f"{tried.name} gives {lost} of {len(tried.values)} points density 0"
    error = float(tried.values.std()) / len(tried.values) ** 0.5
    return f"{tried.name} {float(tried.values.mean()):.3f} +- {error:.3f}"


def _fork(generator: torch.Generator) -> torch.Generator:
    """Randomness of its own for each candidate, so that none depends on which others were tried."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))
