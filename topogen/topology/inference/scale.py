"""How far the landmarks can be from the set M that the cloud samples: the one number eps of homology inference.

The landmarks L come from one part of the cloud; the other part, B of m points, is held out. With r = max_{x in B} d(x, L), let p be
the point of M farthest from L. If d(p, L) > r + h then the ball B(p, h) holds no held-out point, and p is fixed by L. Hence

    sup_M d(., L) <= r + h      where every ball B(p, h) holds a held-out point.

*With a stated density ratio* h has a stated confidence for points drawn independently (`mass_bound`): statistical.

*Without one* h is an estimate: the 95 % quantile over the landmarks (spread evenly over M, not by density) of the distance to the third held-out neighbour,
averaged over eight landmarks next to each other. A ball of mass 3 / m is empty with a chance below exp(-3) < .05, so that is right where the density is even,
and too small where M has parts that few points reach: heuristic.

Points off M by noise widen both: d_H(L, M) <= max(r + h, noise). Both replace the rate-corrected subsampling of Fasy et al. (2014), Confidence sets for
persistence diagrams.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import even_rows
from topogen.topology.inference.mass_bound import MassBound

__all__ = ["Scale", "bounded_scale", "held_out_scale", "largest_off_plane_distance"]

QUANTILE = 0.95
SMOOTHING = 8
FLAT, LARGEST_PATCH = 1 / 3, 4000


@dataclass(frozen=True)
class Scale:
    """A bound `eps` (data units) on the Hausdorff distance of landmarks and sampled set, how it came about, the `label` of what rests on it and what it
    assumes of the points."""

    eps: float
    covering: float
    gap: float
    noise: float
    source: str
    label: str = "heuristic"
    assumption: str = ""

    @property
    def given(self) -> bool:
        """Whether the bound was stated by the caller."""
        return self.label == "proved-for-sample"

    @property
    def off(self) -> float:
        """How far the landmarks can be from the set: the noise, or what was given."""
        return min(self.eps, self.gap if self.given else self.noise)


def held_out_scale(landmarks: Tensor, held_out: Tensor, noise: float = 0.0) -> Scale:
    """eps = max(r + h, noise) from landmarks (l, D) and held-out points (m, D), m >= 3, with h estimated: heuristic."""
    covering = float(nearest_distance(held_out, landmarks).max())
    third = nearest(held_out, 3, landmarks)[0][:, 2]
    around = nearest(landmarks, SMOOTHING, landmarks)[1]
    gap = float(torch.quantile(third[around].mean(1), QUANTILE))
    return _scale(covering, gap, noise, "estimated")


def bounded_scale(landmarks: Tensor, held_out: Tensor, bound: MassBound, noise: float = 0.0) -> Scale:
    """eps = max(r + h, noise) from landmarks (l, D), held-out points (m, D) and their bound h = `bound.gap`: statistical."""
    covering = float(nearest_distance(held_out, landmarks).max())
    ratio = f"{bound.density_ratio:.3g}"
    found = _scale(covering, bound.gap, noise, f"{bound.level:.4g} under a density ratio of {ratio}")
    near = "eps" if noise == 0 else f"{noise:.3g}"
    assumption = f"points drawn independently and within {near} of the set, masses of balls of one radius within a factor {ratio} of each other"
    return replace(found, label="statistical", assumption=assumption)


def _scale(covering: float, gap: float, noise: float, how: str) -> Scale:
    eps = max(covering + gap, noise)
    cause = "noise level" if noise > covering + gap else "landmarks' covering radius of held-out points + gap between these"
    return Scale(eps, covering, gap, noise, f"{cause} (r {covering:.3g}, gap {gap:.3g}, noise {noise:.3g}; {how})")


def largest_off_plane_distance(points: Tensor, dim: int, probes: int = 500) -> float:
    """Largest distance of a point from the d-plane fitted to its neighbours, over up to `probes` points of the cloud (n, D).

    The neighbourhood grows until it is flat: its spread off the plane a third of that along it; inside the noise every plane fits.
    An upper reading: curvature adds about rho^2 / (4 reach), rho the neighbourhood's radius. 0 where d >= D.
    """
    n, ambient_dim = points.shape
    count = min(n - 1, 4 * (dim + 2))
    if dim >= ambient_dim or count <= dim + 1:
        return 0.0
    chosen = points[even_rows(n, probes)]
    while True:
        residual, flatness = _off_plane(chosen, points, dim, count)
        if flatness < FLAT or 4 * count > min(n // 4, LARGEST_PATCH):
            return residual
        count *= 4


def _off_plane(chosen: Tensor, points: Tensor, dim: int, count: int) -> tuple[float, float]:
    """Largest residual of chosen points (m, D) off the planes of their neighbours, and the median flatness of the patches."""
    rows = nearest(points, count + 1, chosen)[1]
    patch = points[rows[:, 1:]]
    centre = patch.mean(1, keepdim=True)
    _, spread, axes = torch.linalg.svd(patch - centre, full_matrices=False)
    tangent = axes[:, :dim]
    offset = (chosen - centre[:, 0]).unsqueeze(-1)
    residual = float((offset - tangent.mT @ (tangent @ offset)).norm(dim=1).max())
    return residual, float((spread[:, dim] / spread[:, max(dim - 1, 0)].clamp(min=1e-300)).median())
