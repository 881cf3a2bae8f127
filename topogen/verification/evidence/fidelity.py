"""Whether a learned manifold M is the set X that its data sample: both sides of their distance, against what noise and spacing explain.

With r(x) the distance of a data point x to its k-th neighbour, k = ln n, and t(n) what noise of sigma per coordinate moves n points off a set of codimension c
with probability below one in a thousand,

    t(n) = sigma (sqrt(c) + sqrt(2 ln(1000 n)))            (Laurent, Massart 2000, lemma 1),

1. the data lie on M: next to no x is farther from M than r(x) + t;
2. M lies along the data: no m in M is farther from the nearest point x than 2 r(x) + t. For points that are dense enough and even, both balls hold k points on
   average, in every dimension;
3. where the data leave a Betti number open that is then taken from M: the largest distance of an m to the data is below the reach of M. If the Hausdorff
   distance of M and X is below the reach of both, the closest-point maps between them are homotopy inverse: the segment from x to its image and back stays
   within reach. The reach of X is assumed; that of M is sampled, an upper bound, so that it can break the claim and never proves it.

A planted fault breaks one of them: a missing component or a sphere through a torus the first, a bridge, a filled handle or a ghost the second, a handle of the
width of the spacing the third.
Federer (1959), Curvature measures, theorem 4.8; Laurent, Massart (2000), Adaptive estimation of a quadratic functional by model selection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import LOCAL_ROWS, distinct_rows, random_rows
from topogen.geometry.clouds.reach import low_reach
from topogen.geometry.clouds.scales import noise_level
from topogen.manifolds.base import Manifold
from topogen.verification.claims import make_claim
from topogen.verification.shares import exceeds
from topogen.verification.verdict import Claim

__all__ = ["Fidelity", "fidelity", "moved_by_noise"]

FEW, MANY = 1e-3, 1e-2
GROSS = 3.0
ALONG = 2.0
ONE_IN = 1000.0
REACH_SAMPLES = 4000


@dataclass(frozen=True)
class Fidelity:
    """The deciding claims `on` (data on the manifold), `along` (the manifold along the data) and `within` (their distance within its reach)."""

    on: Claim
    along: Claim
    within: Claim

    @property
    def holds(self) -> bool:
        """Whether all three do, so that the manifold may speak where the data do not decide."""
        return all(claim.holds is True for claim in (self.on, self.along, self.within))


def fidelity(manifold: Manifold, own: Tensor, samples: Tensor, points: Tensor, distance: Tensor, noise: float) -> Fidelity:
    """The three claims about samples (k, D) of a manifold and data points (n, D), whose distances (n,) to it are given, infinite where they do not project.

    `own`: the samples in the coordinates of the manifold, where these are not those of the points; `noise`: t, see `moved_by_noise`.
    """
    spacing = _spacing(distinct_rows(points), points)
    # A sample is on M too: points that a gate keeps from projecting are no farther from M than from the nearest one.
    distance = torch.minimum(distance, nearest_distance(points, samples))
    gap, near = nearest(points, 1, samples)
    gap, near = gap[:, 0], near[:, 0]
    along = gap <= ALONG * spacing[near] + noise
    return Fidelity(_on(distance, spacing + noise), _along(gap, along), _within(manifold, own, gap))


def _spacing(cloud: Tensor, points: Tensor) -> Tensor:
    """r (n,) at all points, among the distinct ones."""
    k = max(2, math.ceil(math.log(len(cloud))))
    return nearest(cloud, k + 1, points)[0][:, -1]


def moved_by_noise(points: Tensor, manifold: Manifold, generator: torch.Generator) -> float:
    """t (data units) with the noise that is seen in points (n, D) in all coordinates; 0 where there are too few points to see any."""
    cloud = distinct_rows(points)
    if len(cloud) < manifold.dim + 2:
        return 0.0
    rows = cloud if len(cloud) <= LOCAL_ROWS else cloud[random_rows(len(cloud), LOCAL_ROWS, generator)]
    found = noise_level(rows, manifold.dim, generator=generator)
    tail = math.sqrt(manifold.codim) + math.sqrt(2 * math.log(ONE_IN * len(cloud)))
    return found.noise * tail if found.resolved else 0.0


def _on(distance: Tensor, allowed: Tensor) -> Claim:
    off, count = int((distance > allowed).sum()), len(distance)
    worst = float(distance.max())
    gross = exceeds(int((distance > GROSS * allowed).sum()), count, MANY) is True
    text = f"the data lie on the subject: {off} of {count} points are farther from it than spacing and noise around them explain, the farthest {worst:.3g}"
    bound = f"{off} points are off it, the farthest {worst:.3g}" if off > FEW * count else ""
    assumed = f"points are independent, and their noise is at most {GROSS:g} times what is seen" if gross else "the noise is what is seen"
    evidence = {"off": off, "points": count, "farthest": worst}
    return make_claim("fidelity", text, off <= FEW * count, bound, assumed, evidence, label="statistical" if gross else "heuristic", decides=True)


def _along(gap: Tensor, along: Tensor) -> Claim:
    off, farthest = int((~along).sum()), float(gap.max())
    text = f"the subject lies along the data: {off} of {len(gap)} samples are farther from them than their spacing explains, the farthest {farthest:.3g}"
    bound = f"{off} samples are far from all data, the farthest {farthest:.3g}" if off else ""
    evidence = {"off": off, "samples": len(gap), "farthest": farthest}
    return make_claim("fidelity", text, off == 0, bound, "the density falls no faster than it is seen to", evidence, label="heuristic", decides=True)


def _within(manifold: Manifold, samples: Tensor, gap: Tensor) -> Claim:
    rows = samples[:REACH_SAMPLES]
    reach, farthest = low_reach(rows, manifold.tangent_basis(rows)), float(gap.max())
    text = f"no sample is farther from the data ({farthest:.3g}) than the reach of the subject ({reach:.3g})"
    bound = f"parts of the subject are {farthest:.3g} from all data, and its reach is at most {reach:.3g}"
    holds = farthest < reach
    evidence = {"farthest": farthest, "reach": reach}
    return make_claim("fidelity", text, holds, "" if holds else bound, "the reach of the true set is no smaller", evidence, label="heuristic", decides=True)
