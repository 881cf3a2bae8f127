"""How well charts cover a manifold: extents and gates from probes of their balls, what of the balls M lies over, how far charts lean against M.

    lost = share of the z, |z| < rho_k, without a point of M,      flattest = min over charts k and points x that k holds of |det(De_k(x) T(x))|

Lee (2013), Introduction to Smooth Manifolds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.balls import ball_lengths, sphere_points
from topogen.manifolds.atlas.atlas import Atlas, Members
from topogen.manifolds.atlas.graph_charts import Charts
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate

__all__ = ["GATE_MARGIN", "Cover", "largest", "measured", "probes"]

GATE_MARGIN = 2.0
WIDE, MARGIN, RIM = 2.5, 1.05, 0.999
PROBES, ALL_PROBES = 48, 8000
IRREGULAR = 5e-4


@dataclass(frozen=True)
class Cover:
    """A cover and how good it is; lengths in data units.

    `atlas`; `covering_radius` of its centres; `flattest`: the smallest |det| over all charts, but for
    .05 % of the points, 0 where discs were lost; `rms` of the
    offsets of samples from the own sheets of the charts that hold them; `lost`: share of the tangent discs that M does not lie over; `tried`: what came
    before, (K, flattest, objection) per round.
    """

    atlas: Atlas
    covering_radius: float
    flattest: float
    rms: float
    lost: float = 0.0
    tried: tuple[tuple[int, float, str], ...] = ()


def measured(
    charts: Charts,
    samples: Tensor,
    sheet: Manifold | None,
    *,
    gate: Gate | None = None,
    slack: Tensor | float = 0.0,
    covering_radius: float = 0.0,
    frames: Tensor | None = None,
) -> Cover:
    """The atlas of these charts, extents and gates measured on probes of their balls, and how well it covers M.

    `slack` (K,) is added to the gates: how far the samples (n, D) are from the own sheets.
    """
    wide = Atlas(charts.reaching(WIDE * charts.radius), sheet, points=samples, gate=gate)
    probe, z = probes(charts)
    x, found = wide.decode(probe, z)
    open_ended = not wide.closed
    lost = 0.0 if open_ended else float((~found).double().mean())
    probe, x, z = probe[found], x[found], z[found]
    charts = charts.reaching(torch.maximum(MARGIN * largest((x - charts.centre[probe]).norm(dim=1), probe, charts), charts.radius))
    tau = GATE_MARGIN * largest(charts.offset(probe, x, z), probe, charts) + 1e-3 * charts.radius + slack
    atlas = Atlas(charts, sheet, tau=tau, points=samples, gate=gate, frames=frames)
    held = atlas.members(samples)
    rms = float(charts.offset(held.chart, samples[held.row], held.z).square().mean().sqrt())
    flattest = 0.0 if lost > 0 else _flattest(atlas, samples, held, probe, x)
    return Cover(atlas, covering_radius, flattest, rms, lost)


def largest(value: Tensor, chart: Tensor, charts: Charts) -> Tensor:
    """The largest (K,) of values (m,) >= 0 of each of the charts (m,); 0 where a chart has none."""
    return torch.zeros_like(charts.radius).scatter_reduce(0, chart, value, "amax")


def probes(charts: Charts) -> tuple[Tensor, Tensor]:
    """Coordinates in every ball, at least 48 for each and 8000 in all, half of them at its rim where a chart turns away most: charts (m,) and z (m, d)."""
    source = torch.Generator().manual_seed(0)
    each = max(PROBES, ALL_PROBES // charts.count)
    direction = sphere_points(charts.count * each, charts.dim, generator=source)
    length = ball_lengths(charts.count * each, charts.dim, generator=source)
    length[::2] = RIM
    chart = torch.arange(charts.count).repeat_interleave(each)
    return chart, direction * length * charts.radius[chart, None]


def _flattest(atlas: Atlas, samples: Tensor, held: Members, probe: Tensor, x: Tensor) -> float:
    """|det(T_k^t T(x))| that all but IRREGULAR of the pairs of a chart and a sample or probe that it holds exceed.

    At the edge of a learned zero set, and at defects, single points have no clear tangents.
    """
    chart, points = torch.cat([held.chart, probe]), torch.cat([samples[held.row], x])
    if atlas.sheet is None:
        return _low(atlas.stretch(chart, points))
    basis = torch.cat([atlas.frames[held.row], atlas.sheet.tangent_basis(x)])
    return _low(atlas.stretch(chart, points, basis))


def _low(determinants: Tensor) -> float:
    return float(determinants.abs().sort().values[int(IRREGULAR * len(determinants))])
