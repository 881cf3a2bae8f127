"""A radius within which every point of the sampled set M has a point of a held-out cloud, with a stated confidence, under a stated density ratio.

Let x_1, ..., x_m be drawn independently from mu, and let rho bound the ratio of the masses mu(B(x, h)) of balls of one radius, centred on M or at points of the
cloud. For a point p and a radius h that do not depend on the x_i,

    P(no x_i in B(p, h))  =  (1 - mu(B(p, h)))^m  <=  b        once        mu(B(q, h)) >= t = rho (1 - b^(1/m))  for some centre q,

or for the mean over a set Q of centres. Such an h is found by the x_i themselves, with probability 1 - a, in two ways; centres and candidates come from
other points.

    order statistic    h = D_k, the k-th smallest |x_i - q|. mu(B(q, D_k)) is stochastically no smaller than Beta(k, m - k + 1), hence below t with probability
                       P(Binomial(m, t) >= k) at most.
    mean               h one of five candidates. With z_i the share of Q within h of x_i, mean z, variance v and largest possible value z_max,
                       E z >= mean z - (2 v log(2/a) / m)^(1/2) - 7 z_max log(2/a) / (3 (m - 1)).

Every h found so is, with probability 1 - a, no smaller than the least h* with mass t / rho round all of M, in which no x_i has a part: so the emptiness of one
ball, B(p, h*), is all that remains, and the smaller of both h will do. The confidence is 1 - a - c b if c different p have to be served. Neither dimension
nor reach nor volume of M occurs, and nothing is estimated.

David, Nagaraja (2003), Order statistics, section 2; Maurer, Pontil (2009), Empirical Bernstein bounds and sample variance penalization, theorem 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import even_rows

__all__ = ["MassBound", "mass_rank", "uniform_ratio"]

CENTRES = 500
SLACKS = (1.1, 1.25, 1.5, 2.0, 3.0)
# of 1 - level, what the emptiness of balls gets; their masses get the rest
EMPTY = 0.6
DENSE, MOST_NEIGHBOURS = 10, 2000
LARGEST_SHARE = 0.4


@dataclass(frozen=True)
class MassBound:
    """With confidence `level` a point of the set has a held-out point within `gap` (data units), if masses of equal balls differ by `density_ratio` at most."""

    gap: float
    density_ratio: float
    level: float

    @classmethod
    def of(cls, centres: Tensor, source: Tensor, held_out: Tensor, density_ratio: float, level: float, choices: int = 1) -> MassBound | None:
        """The bound from held-out points (m, D).

        Args:
            centres: (l, D), some of the source.
            source: points (a, D) of the cloud that are independent of the held-out ones; they choose centres and candidates.
            held_out: the x_i, (m, D).
            density_ratio: rho, at least 1.
            level: confidence.
            choices: c, for how many points p the bound has to hold at once.

        Returns None where m points are too few for such a ratio and level.
        """
        m, missed = len(held_out), (1 - EMPTY) * (1 - level)
        mass = density_ratio * (1 - (EMPTY * (1 - level) / choices) ** (1 / m))
        dense = _densest_first(centres, source)
        found = [_by_order(dense, held_out, mass, missed / 2), _by_mean(dense, source, held_out, mass, missed / 2)]
        gaps = [gap for gap in found if gap is not None]
        return cls(min(gaps), density_ratio, level) if gaps else None


def mass_rank(m: int, mass: float, missed: float) -> int | None:
    """The smallest k for which a ball out to the k-th of m points has at least such a mass but for a probability `missed`; None where no k <= m is."""
    from scipy.stats import binom

    k = int(binom.isf(missed, m, mass)) + 1 if mass < 1 else m + 1
    return k if k <= m else None


def uniform_ratio(dim: int, *, closed: bool) -> float:
    """A density ratio of uniform samples of a manifold of dimension d and reach R, for balls of radius h <= .4 R, as all rules here ask of eps > h.

    With s = h / R and t = 2 arcsin(s / 2), a ball round a point of M has at least the volume (1 - s^2/4)^(d/2) w_d h^d in M and lies in a geodesic ball of
    radius t R; curvatures are at least -2 / R^2, so that has at most (sinh(2^(1/2) t) / (2^(1/2) t))^(d-1) w_d (t R)^d. A boundary may halve the former.
    Niyogi, Smale, Weinberger (2008), lemma 5.3; Bishop's inequality: Gray (2004), Tubes, section 3.4.
    """
    t = 2 * math.asin(LARGEST_SHARE / 2)
    stretched = math.sqrt(2) * t
    upper = (t / LARGEST_SHARE) ** dim * (math.sinh(stretched) / stretched) ** max(dim - 1, 0)
    return upper / (1 - LARGEST_SHARE**2 / 4) ** (dim / 2) * (1 if closed else 2)


def _densest_first(centres: Tensor, source: Tensor) -> Tensor:
    """Up to 500 of the centres, those with the nearest neighbours in the source first."""
    some = centres[even_rows(len(centres), CENTRES)]
    return some[nearest(source, min(DENSE, len(source)), some)[0][:, -1].argsort()]


def _by_order(dense: Tensor, held_out: Tensor, mass: float, missed: float) -> float | None:
    rank = mass_rank(len(held_out), mass, missed)
    return None if rank is None else float(nearest(held_out, rank, dense[:1])[0][0, -1])


def _by_mean(dense: Tensor, source: Tensor, held_out: Tensor, mass: float, missed: float) -> float | None:
    """The first of the candidates round the best set of centres at which the held-out points show the mass."""
    if mass >= 1:
        return None
    centres, radii = _candidates(dense, source, mass)
    return next((h for h in radii if _least_mean(centres, held_out, h, missed / len(radii)) >= mass), None)


def _candidates(dense: Tensor, source: Tensor, mass: float) -> tuple[Tensor, list[float]]:
    """The set of the densest centres, of sizes that halve, whose balls reach the mass first, and the radii of 1.1 to 3 times the mass; by the source alone."""
    most = min(len(source), math.ceil(2 * SLACKS[-1] * mass * len(source)) + 1, MOST_NEIGHBOURS)
    distances = nearest(source, most, dense)[0].numpy()
    sizes = sorted({max(1, len(dense) >> i) for i in range(10)}, reverse=True)
    found = {size: _radii(distances[:size], len(source), mass) for size in sizes}
    best = min((size for size in sizes if found[size]), key=lambda size: found[size][0], default=0)
    return dense[:best], found.get(best, [])


def _radii(distances: NDArray[np.float64], count: int, mass: float) -> list[float]:
    """Radii at which balls round centres hold 1.1 to 3 times the mass on average, from distances (q, k) to the nearest of `count` points; those in reach."""
    ordered = np.sort(distances.reshape(-1))
    places = [math.ceil(slack * mass * count * len(distances)) for slack in SLACKS]
    return [float(ordered[place]) for place in places if place < len(ordered)]


def _least_mean(centres: Tensor, held_out: Tensor, radius: float, missed: float) -> float:
    """The lower confidence bound of the mean mass of balls of a radius round centres (q, D)."""
    from scipy.spatial import KDTree

    m = len(held_out)
    inside = KDTree(held_out.numpy()).query_ball_point(centres.numpy(), radius)
    hits = np.bincount(np.concatenate([np.asarray(rows, dtype=np.int64) for rows in inside]), minlength=m) / len(centres)
    # points within h of one point are within 2 h of each other
    largest = float((torch.cdist(centres, centres) <= 2 * radius).sum(1).max()) / len(centres)
    doubt = math.log(2 / missed)
    return float(hits.mean() - math.sqrt(2 * hits.var(ddof=1) * doubt / m) - 7 * largest * doubt / (3 * (m - 1)))
