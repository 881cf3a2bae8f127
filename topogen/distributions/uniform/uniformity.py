"""Whether points on a manifold are spread as its uniform distribution is: a chi-square test of homogeneity on cells of M.

M is cut into the Voronoi cells of farthest points among m uniform samples. With O_k of the n data and U_k of the samples in cell k,

    X^2 = sum_k (sqrt(m/n) O_k - sqrt(n/m) U_k)^2 / (O_k + U_k),

which for independent uniform data is chi-square with K - 1 degrees of freedom where cells hold enough. Points that are spread more evenly than at random, such
as lattices and meshes, pass.
Pearson (1900), On the criterion that a given system of deviations ...; Lehmann, Romano (2005), Testing Statistical Hypotheses, section 14.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import nearest

__all__ = ["Uniformity", "uniformity"]

PER_CELL, MOST_CELLS, LEAST_CELLS = 20, 64, 3
LEAST_SAMPLES, MOST_SAMPLES = 2000, 10_000


@dataclass(frozen=True)
class Uniformity:
    """The `statistic` X^2 on so many `cells`, and the p-value under the hypothesis that the points are independent and uniform."""

    statistic: float
    cells: int
    p_value: float


def uniformity(points: Tensor, uniform: Uniform, generator: torch.Generator | None = None) -> Uniformity:
    """Test points (n, D) on M against the uniform distribution on M.

    Raises InvalidInputError for fewer than 60 points, which fill no three cells.

    Example:
        >>> import torch
        >>> from topogen.distributions import Uniform
        >>> from topogen.distributions.uniform.uniformity import uniformity
        >>> from topogen.manifolds.shapes import Circle
        >>> generator = torch.Generator().manual_seed(0)
        >>> uniformity(Circle().sample(500, generator), Uniform(Circle()), generator).p_value > 0.05
        True
    """
    n = len(points)
    if n < PER_CELL * LEAST_CELLS:
        raise InvalidInputError(f"points: expected at least {PER_CELL * LEAST_CELLS}, found {n}")
    samples = uniform.sample((min(MOST_SAMPLES, max(LEAST_SAMPLES, 2 * n)),), generator=generator)
    centres = farthest_points(samples, min(MOST_CELLS, n // PER_CELL)).points
    found, drawn = (_counts(cloud, centres) for cloud in (points.detach().double(), samples))
    ratio = (len(samples) / n) ** 0.5
    statistic = float(((ratio * found - drawn / ratio).square() / (found + drawn).clamp_min(1)).sum())
    freedom = torch.tensor((len(centres) - 1) / 2, dtype=torch.float64)
    p_value = torch.special.gammaincc(freedom, torch.tensor(statistic / 2, dtype=torch.float64))
    return Uniformity(statistic, len(centres), float(p_value))


def _counts(points: Tensor, centres: Tensor) -> Tensor:
    return torch.bincount(nearest(centres, 1, points)[1][:, 0], minlength=len(centres)).double()
