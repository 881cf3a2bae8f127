"""What diffusion and flow matching need before they train: data on M in two parts, the ground they move on, the equilibrium they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.distributions.fields.components import SampledManifold, UniformComponents, data_weights, sampled_manifold
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.reach import low_reach
from topogen.manifolds.base import Manifold
from topogen.training.trainer import Settings

__all__ = ["PreparedData", "Sizes", "field_settings", "field_for", "prepare", "without_some"]

HELD_OUT, MOST_HELD_OUT = 0.1, 2000
FAR, FAR_SHARE = 0.1, 0.2
LEAST = 20
FINEST, CAP = 0.5, 30.0
STEPS = 8000
WITHOUT_CONTEXT = 0.1
CLUSTERED, _MANY = 0.8, 64


@dataclass(frozen=True)
class Sizes:
    """Of the network: `width`, `depth`, number of Fourier `features` and the `finest` of their frequencies in units of 1 / scale (None: from the data)."""

    width: int = 160
    depth: int = 3
    features: int = 64
    finest: float | None = None


# Data in fine clusters gain by as much as half a nat from it, smooth ones lose by it.
FOR_CLUSTERS = Sizes(192, 3, 128, 60.0)


def field_settings(steps: int = STEPS, judged: int = 16) -> Settings:
    """How fields are trained: `steps` of batches of 512, judged so many times on the way; the data to judge by are set apart before."""
    return Settings(steps=steps, batch_size=512, rate=2e-3, held_out=0.0, measure_every=max(1, steps // judged))


@dataclass(frozen=True)
class PreparedData:
    """`ground` and `base`; data on M to `learn` from (n, D) and to `judge` by (m, D) with their contexts; `spacing` between data and `reach` of M (data units);
    `clustered`, whether neighbours are nearer than those of an even density; `notes` in words."""

    ground: SampledManifold
    base: UniformComponents
    learn: Tensor
    judge: Tensor
    learn_context: Tensor | None
    judge_context: Tensor | None
    spacing: float
    reach: float
    clustered: bool
    notes: tuple[str, ...]


@torch.no_grad()
def prepare(
    points: Tensor,
    manifold: Manifold,
    *,
    context: Tensor | None = None,
    held_out: Tensor | None = None,
    uniform: Uniform | None = None,
    ground: SampledManifold | None = None,
    generator: torch.Generator | None = None,
) -> PreparedData:
    """Data (n, D) brought onto M and split, unless `held_out` (m, D) are given to judge by; a tenth, at most 2000, is held out otherwise.

    Data are far from M that are farther than half its reach and than a tenth of the radius (root mean square) of its smallest component: a surface smoother
    than its data has a reach below what it smooths away. They are left out. Components of M that hold no data have weight 0. Raises InvalidInputError for fewer
    than 20 points on M, when more than a fifth of the data is far from it, or for a context of another length than the data.
    """
    context = _checked_context(context, len(points))
    if held_out is not None and context is not None:
        raise InvalidInputError("held_out: points that are held out by the caller have no context; leave out one of the two")
    ground = sampled_manifold(manifold, points, uniform=uniform, generator=generator) if ground is None else ground
    some = ground.pool[:2000]
    reach = low_reach(some, ground.fast.tangent_basis(some))
    near = max(0.5 * reach, FAR * min(_radius(ground.pool[ground.labels == c]) for c in range(ground.count)))
    data, kept = _on(manifold, points.detach().double(), near)
    context = None if context is None else context[kept]
    order = torch.randperm(len(data), generator=generator)
    apart = 0 if held_out is not None else min(MOST_HELD_OUT, round(HELD_OUT * len(data)))
    learn, judge = data[order[apart:]], data[order[:apart]] if held_out is None else _on(manifold, held_out.detach().double(), near)[0]
    weights = data_weights(ground, learn)
    notes = [f"components: {ground.count}, with shares {', '.join(f'{w:.3f}' for w in weights.tolist())} of the data"] if ground.count > 1 else []
    notes += [f"data: {int((~kept).sum())} of {len(kept)} points are far from the manifold and were left out"] if not bool(kept.all()) else []
    spacing, clustered = _crowding(learn, manifold.dim)
    notes += ["data: in fine clusters, the larger network"] if clustered else []
    learn_context, judge_context = (None, None) if context is None else (context[order[apart:]], context[order[:apart]])
    return PreparedData(ground, UniformComponents(ground, weights), learn, judge, learn_context, judge_context, spacing, reach, clustered, tuple(notes))


def field_for(prepared: PreparedData, sizes: Sizes | None, generator: torch.Generator | None, times: tuple[float, float] | None = None) -> FieldNetwork:
    """A network for data like these: centred and scaled to them, with frequencies up to a turn in a dozen spacings; larger for data in fine clusters."""
    sizes = (FOR_CLUSTERS if prepared.clustered else Sizes()) if sizes is None else sizes
    pool, context = prepared.ground.pool, prepared.learn_context
    centre, scale = pool.mean(0), _radius(pool)
    finest = min(max(FINEST * scale / max(prepared.spacing, 1e-9 * scale), 2.0), CAP) if sizes.finest is None else sizes.finest
    number = 0 if context is None else context.shape[1]
    return FieldNetwork(
        centre, scale, finest=finest, features=sizes.features, width=sizes.width, depth=sizes.depth, context=number, times=times, generator=generator
    )  # fmt: skip


def _radius(points: Tensor) -> float:
    """Root mean square distance of points (n, D) from their mean."""
    return float((points - points.mean(0)).square().sum(1).mean().sqrt())


def without_some(context: Tensor | None, rows: Tensor, generator: torch.Generator | None) -> Tensor | None:
    """Contexts (b, c) of some rows (b,) of the data, a tenth of them NaN: so the field learns the law without a context as well."""
    if context is None:
        return None
    absent = torch.rand(len(rows), 1, generator=generator) < WITHOUT_CONTEXT
    return torch.where(absent, torch.nan, context[rows])


def _crowding(points: Tensor, dim: int) -> tuple[float, bool]:
    """Median distance to the nearest of points (n, D), and whether it is below what the distance to the 64th makes one expect of an even density.

    There r_1 / r_k has the median (log 2 / k)^(1/d), whatever the density. Measured: 1.01 to 1.04 times that for smooth ones, .55 to .6 for floods and quakes.
    """
    distance = nearest(points, min(_MANY, len(points) - 1))[0]
    expected = (math.log(2) / distance.shape[1]) ** (1 / dim)
    return float(distance[:, 0].median()), float((distance[:, 0] / distance[:, -1].clamp_min(1e-300)).median()) < CLUSTERED * expected


def _on(manifold: Manifold, points: Tensor, near: float) -> tuple[Tensor, Tensor]:
    """Data on M (m, D) and the mask (n,) of those that are near enough."""
    found = manifold.project(points)
    kept = found.converged & ((found.points - points).norm(dim=-1) <= near)
    if float((~kept).double().mean()) > FAR_SHARE or int(kept.sum()) < LEAST:
        raise InvalidInputError(
            f"points: {int((~kept).sum())} of {len(points)} are farther than {near:.3g} from {manifold!r}, or have no projection;"
            f" at least {LEAST} points and {1 - FAR_SHARE:.0%} of them have to be near it"
        )
    return found.points[kept].detach(), kept


def _checked_context(context: Tensor | None, n: int) -> Tensor | None:
    if context is None:
        return None
    context = torch.as_tensor(context)
    if not context.is_floating_point() and context.ndim == 1:
        classes, context = context.unique(return_inverse=True)
        return torch.nn.functional.one_hot(context, len(classes)).float()
    if context.ndim != 2 or len(context) != n or not bool(torch.isfinite(context.float()).all()):
        raise InvalidInputError(f"context: expected integer labels ({n},) or finite vectors ({n}, c), found {tuple(context.shape)}")
    return context.float()
