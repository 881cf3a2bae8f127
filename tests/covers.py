"""Covers of shapes by balls around farthest points with tangent-plane charts, for the tests of nerves and orientations."""

import functools

import torch

from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.manifolds.shapes import get


class Cover:
    """Samples `points` (n, D), `members` (n, K), `determinants` (n, K) with nan outside, and `coordinates` of K balls of `factor` covering radii."""

    def __init__(self, name, charts, factor, seed=0, n=20_000):
        shape = get(name)
        self.dim = shape.dim
        self.points = shape.sample(n, torch.Generator().manual_seed(seed))
        marks = farthest_points(self.points[:8000], charts, start=seed)
        self.centres, self.frames = marks.points, shape.tangent_basis(marks.points)
        distance = torch.cdist(self.points, self.centres)
        self.members = distance < factor * distance.amin(1).max()
        at_samples = shape.tangent_basis(self.points)
        self.determinants = torch.full_like(distance, torch.nan)
        for k in range(charts):
            inside = self.members[:, k]
            self.determinants[inside, k] = torch.linalg.det(self.frames[k].mT @ at_samples[inside])

    def coordinates(self, k, rows):
        return (self.points[rows] - self.centres[k]) @ self.frames[k]


@functools.lru_cache(maxsize=4)
def cover(name, charts, factor, seed=0, n=20_000):
    return Cover(name, charts, factor, seed, n)
