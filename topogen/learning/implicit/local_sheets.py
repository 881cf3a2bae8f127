"""Sheets of least squares: polynomial heights over tangent planes around given centres, each fitted to its own neighbours.

The neighbours of a sheet are the k points least far in the metric |t|^2 + lambda^2 (|n| - 1.5 s)_+^2, t the offset from the centre along its tangents, n the
height off the sheet fitted before and s their spread (lambda = `ACROSS`). A ball around a point off a curved sheet holds
more of its inner side; a second sheet of M closer than the neighbourhood is wide would be mixed in: measured so, it is far. Each round refits around the foot
of the round before, near points counting more (Epanechnikov's kernel).
Fan, Gijbels (1996), Local polynomial modelling and its applications; Levin (2003), Mesh-independent surface interpolation; Fleishman, Cohen-Or, Silva (2005),
Robust moving least-squares fitting with sharp features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import Tree, local_pca
from topogen.geometry.frames import orthonormal
from topogen.manifolds.atlas.graph_charts import GraphCharts, monomials, powers

__all__ = ["LocalSheets", "coefficients", "fit_sheets", "joined"]

ACROSS, NOISE = 4.0, 1.5
POOL = 3.0
ROUNDS, FASTEST = 2, 2.5
LEAST_WEIGHT = 1e-3
OFF, OFF_NOISE = 0.2, 6.0
GAP, FEWEST = 0.2, 0.25
_ELEMENTS = 4_000_000


@dataclass(frozen=True)
class LocalSheets:
    """Sheets (`charts`) of K neighbourhoods, what is known of each, (K,), in data units.

    `spread`: standard deviation of its neighbours off the sheet, per normal; `gap`: the least height of points over it that are on no part of it
    (infinite without such points); `lean`: distance of the neighbours' mean from the centre along the tangents, over the radius (0 inside, .4 at an edge);
    `leverage`: variance of the height at the centre, in units of the variance of one point's; `count` of neighbours.
    """

    charts: GraphCharts
    spread: Tensor
    gap: Tensor
    lean: Tensor
    leverage: Tensor
    count: Tensor

    def subset(self, kept: Tensor) -> LocalSheets:
        """The sheets with the numbers `kept` (m,) alone."""
        return LocalSheets(self.charts.subset(kept), *(getattr(self, name)[kept] for name in _TOLD))

    def replaced(self, rows: Tensor, others: LocalSheets) -> LocalSheets:
        """The sheets, those in `rows` (m,) taken from the others."""
        old, new = self.charts, others.charts
        parts = {name: getattr(old, name).index_copy(0, rows, getattr(new, name)) for name in ("centre", "tangent", "radius", "heights")}
        charts = GraphCharts(parts["centre"], parts["tangent"], parts["radius"], heights=parts["heights"], degree=old.degree)
        return LocalSheets(charts, *(getattr(self, name).index_copy(0, rows, getattr(others, name)) for name in _TOLD))


_TOLD = ("spread", "gap", "lean", "leverage", "count")


def coefficients(dim: int, degree: int) -> int:
    """Number of coefficients of a height of that degree."""
    return len(monomials(dim, degree))


@torch.no_grad()
def fit_sheets(
    points: Tensor, centre: Tensor, dim: int, k: int, degree: int, *, base: int | None = None, noise: float | None = None, tree: Tree | None = None
) -> LocalSheets:
    """Sheets around centres (K, h), on or near the points (n, h) float64, each fitted to k of them; the first fit, which tells tangents and other sheets
    apart, to `base` of them (k when None). `noise`: the spread of most sheets; None: that of the first fits here."""
    tree = Tree(points) if tree is None else tree
    base = k if base is None else min(base, k)
    pool = min(int(POOL * k) + 1, len(points))
    size = max(1, _ELEMENTS // (pool * max(points.shape[1], coefficients(dim, degree))))
    sizes = _sizes(min(base, len(points)), min(k, len(points)))
    parts = [_fit(points, part, dim, sizes, degree, tree.nearest(part, pool)[1], noise) for part in centre.split(size)]
    return joined(parts)


def joined(parts: list[LocalSheets]) -> LocalSheets:
    """The sheets of all parts, of one degree, in their order."""
    degree = parts[0].charts.degree
    charts = [part.charts for part in parts]
    centre, tangent, radius, heights = (torch.cat([getattr(c, name) for c in charts]) for name in ("centre", "tangent", "radius", "heights"))
    told = (torch.cat([getattr(part, name) for part in parts]) for name in _TOLD)
    return LocalSheets(GraphCharts(centre, tangent, radius, heights=heights, degree=degree), *told)


def _sizes(base: int, k: int) -> list[int]:
    """Neighbours of the rounds: from the first sheet on they grow by at most `FASTEST`, because a sheet says little far beyond its own neighbours."""
    sizes = [base]
    while FASTEST * sizes[-1] < k:
        sizes.append(int(FASTEST * sizes[-1]))
    return [*sizes, *[k] * ROUNDS]


def _fit(points: Tensor, centre: Tensor, dim: int, sizes: list[int], degree: int, pool: Tensor, noise: float | None) -> LocalSheets:
    around, base = points[pool], sizes[0]
    tangent = local_pca(points, pool[:, :base]).frames[..., :dim]
    charts = GraphCharts(centre, tangent, _first_radius(around[:, :base], centre, tangent), degree=degree)
    z, height = _over(charts, around, flat=True)
    square, other = z.square().sum(-1) + (ACROSS * height).square().sum(-1), torch.zeros(pool.shape, dtype=torch.bool)
    square[:, int(POOL * base) + 1 :] = torch.inf
    fit = _solved(charts, around, square, base)
    other.scatter_(1, fit.chosen, _on_other_sheets(fit.charts, around, fit.chosen, centre))
    fit = _solved(charts, around, torch.where(other, torch.inf, square), base)
    noise = float(fit.spread.median()) if noise is None else noise
    for k in sizes[1:]:
        ids, zero = torch.arange(len(centre)), points.new_zeros(len(centre), dim)
        foot, tangent = fit.charts.decode(ids, zero), orthonormal(fit.charts.jacobian(ids, zero))
        charts = _carried(fit.charts, foot, tangent)
        z, height = _over(charts, around)
        # Noise is no distance: a metric that counted it would choose points of little noise. A sheet that spreads more than most is on two sheets of M.
        across = ACROSS * (height.norm(dim=-1) - NOISE * fit.spread.clamp(max=noise).unsqueeze(1)).clamp_min(0)
        fit = _solved(charts, around, torch.where(other, torch.inf, z.square().sum(-1) + across.square()), k)
    return _measured(fit, around)


class _Solved(NamedTuple):
    """Fitted `charts` of K neighbourhoods: their `chosen` points (K, k), weights (K, k), zero where there are fewer, `leverage` and `spread` (K,)."""

    charts: GraphCharts
    chosen: Tensor
    weight: Tensor
    leverage: Tensor
    spread: Tensor


def _solved(charts: GraphCharts, around: Tensor, square: Tensor, k: int) -> _Solved:
    """Heights of weighted least squares over the k points of least squared distance (K, m), scaled to the radius that they fill."""
    square, chosen = square.topk(k, dim=1, largest=False)
    weight = _kernel(square)
    ends = around.gather(1, chosen.unsqueeze(2).expand(-1, -1, around.shape[2]))
    offset = ends - charts.centre.unsqueeze(1)
    z, rise = offset @ charts.tangent, offset @ charts.normal
    radius = torch.where(weight > 0, z.norm(dim=-1), 0.0).amax(1).clamp_min(1e-300)
    basis = powers((z / radius[:, None, None]).flatten(0, 1), monomials(charts.dim, charts.degree)).view(*z.shape[:2], -1)
    weighted = basis * weight.unsqueeze(2)
    gram, right, squared = basis.mT @ weighted, weighted.mT @ rise, weighted.mT @ weighted
    ridge = 1e-12 * gram.diagonal(dim1=1, dim2=2).sum(1)
    inverse = torch.linalg.inv(gram + ridge[:, None, None] * torch.eye(gram.shape[-1], dtype=gram.dtype))
    heights = inverse @ right
    fitted = GraphCharts(charts.centre, charts.tangent, radius, heights=heights.mT, degree=charts.degree)
    left = (weight * (rise - basis @ heights).square().mean(2)).sum(1)
    # E sum w e^2 = sigma^2 (sum w - tr(G^-1 X^t W^2 X)) of weighted least squares.
    freedom = (weight.sum(1) - (inverse * squared).sum((1, 2))).clamp_min(1e-3 * weight.sum(1))
    spread = (left / freedom).sqrt()
    return _Solved(fitted, chosen, weight, (inverse @ squared @ inverse)[:, 0, 0], spread)


def _kernel(square: Tensor) -> Tensor:
    """Epanechnikov's weights (K, k) of squared distances; the farthest point still counts a little, so that no sheet loses points; infinite ones count zero."""
    finite = torch.isfinite(square)
    farthest = torch.where(finite, square, 0.0).amax(1, keepdim=True).clamp_min(1e-300)
    return torch.where(finite, (1 - square / farthest).clamp_min(LEAST_WEIGHT), 0.0)


def _on_other_sheets(charts: GraphCharts, around: Tensor, chosen: Tensor, centre: Tensor) -> Tensor:
    """Mask (K, k) of chosen points that a gap divides from the centre: heights over the sheets come in clusters, and theirs is another.

    Heights are taken along their leading principal direction. A gap is wider than `GAP` of their range and half of `OFF` of the radius of the neighbourhood.
    """
    height, k = _over(charts, around)[1], chosen.shape[1]
    height = height.gather(1, chosen.unsqueeze(2).expand(-1, -1, height.shape[2]))
    middle = height.mean(1, keepdim=True)
    leading = torch.linalg.svd((height - middle).mT @ (height - middle))[0][..., :1]
    line = ((height - middle) @ leading).squeeze(2)
    own = ((_over(charts, centre.unsqueeze(1))[1] - middle) @ leading).squeeze(2)
    order = line.sort(dim=1).values
    step = order.diff(dim=1)
    wide = step > torch.maximum(GAP * (order[:, -1:] - order[:, :1]), OFF / 2 * charts.radius.unsqueeze(1))
    # What is beyond a gap is a sheet when it is many points; single ones are the tails of the noise.
    beyond = int(FEWEST / 2 * k)
    wide[:, :beyond] = wide[:, wide.shape[1] - beyond :] = False
    # The cluster of the centre lies between the nearest wide gaps on its two sides.
    low = torch.where(wide & (order[:, 1:] <= own), order[:, 1:] - step / 2, -torch.inf).amax(1, keepdim=True)
    high = torch.where(wide & (order[:, :-1] >= own), order[:, :-1] + step / 2, torch.inf).amin(1, keepdim=True)
    apart = (line < low) | (line > high)
    return apart & ((~apart).sum(1, keepdim=True) >= FEWEST * k)


def _first_radius(around: Tensor, centre: Tensor, tangent: Tensor) -> Tensor:
    return ((around - centre.unsqueeze(1)) @ tangent).norm(dim=-1).amax(1).clamp_min(1e-300)


def _carried(charts: GraphCharts, foot: Tensor, tangent: Tensor) -> GraphCharts:
    """Charts around other centres whose heights are told by those of `charts` until they are fitted."""
    moved = GraphCharts(foot, tangent, charts.radius, degree=charts.degree)
    ids = torch.arange(len(foot))
    bend = torch.stack([charts.bend(ids, foot.new_zeros(len(foot), charts.dim), moved.normal[..., i]) for i in range(moved.normal.shape[-1])], 1)
    scaled = bend * charts.radius[:, None, None, None].square()
    exponents = monomials(charts.dim, charts.degree)
    for number, exponent in enumerate(exponents):
        if sum(exponent) == 2:
            a, b = (i for i, e in enumerate(exponent) for _ in range(e))
            moved.heights[..., number] = scaled[..., a, b] / (2 if a == b else 1)
    return moved


def _over(charts: GraphCharts, around: Tensor, flat: bool = False) -> tuple[Tensor, Tensor]:
    """Coordinates (K, m, d) of points (K, m, h) and their heights (K, m, r) off the sheets, off the planes where `flat`."""
    offset = around - charts.centre.unsqueeze(1)
    z, height = offset @ charts.tangent, offset @ charts.normal
    if flat:
        return z, height
    basis = powers((z / charts.radius[:, None, None]).flatten(0, 1), monomials(charts.dim, charts.degree)).view(*z.shape[:2], -1)
    return z, height - basis @ charts.heights.mT


def _measured(fit: _Solved, around: Tensor) -> LocalSheets:
    z, height = _over(fit.charts, around)
    size, counted = height.norm(dim=-1), (fit.weight > 0).double()
    over = z.norm(dim=-1) <= fit.charts.radius.unsqueeze(1)
    off = over & (size > torch.maximum(OFF * fit.charts.radius, OFF_NOISE * fit.spread).unsqueeze(1))
    gap = torch.where(off, size, torch.inf).amin(1)
    mean = (z.gather(1, fit.chosen.unsqueeze(2).expand(-1, -1, z.shape[2])) * counted.unsqueeze(2)).sum(1) / counted.sum(1, keepdim=True)
    return LocalSheets(fit.charts, fit.spread, gap, mean.norm(dim=1) / fit.charts.radius, fit.leverage, counted.sum(1))
