"""The laws of a `Shape`: its truths agree with one another and with an integrator that knows only its projection.

Statistical laws draw from fixed seeds and bound every z-score by 6, after a correction for the number of scores: a law of a right shape fails for at most
2 in 10^9 seeds per score (normal tails; with the heavier tails of ratios, about 1 in 10^6).
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.manifolds.shapes.base import Shape
from topogen.testing.manifold_laws import ManifoldLaws, _at_most
from topogen.testing.tube_samples import TubeSamples, tube_samples

__all__ = ["ShapeLaws"]


class ShapeLaws(ManifoldLaws):
    """Laws of the `Shape` contract, on top of `ManifoldLaws`; a subclass writes `shape`.

    `reach` is a lower bound of the reach, the radius of the tube in which `tube_draws` points are drawn; `margin` is the least distance to a boundary
    of the points that the local laws use (shapes with a boundary write `inside`).
    """

    reach = 0.3
    tube_draws = 6000
    samples = 4000
    z_bound = 6.0

    def shape(self) -> Shape:
        """The shape under test."""
        raise NotImplementedError("write shape() in the subclass")

    def manifold(self) -> Manifold:
        """The shape itself."""
        return self.shape()

    def inside(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points (n, D) of the shape that are `scale` away from its boundary; all of them if it is closed."""
        return torch.ones(len(x), dtype=torch.bool)

    def points(self, n: int, generator: torch.Generator) -> Tensor:
        """n uniform points inside."""
        shape = self.shape()
        x = shape.sample(n if shape.closed else 40 * n, generator)
        return x[self.inside(x)][:n]

    def test_samples_lie_on_the_shape(self) -> None:
        shape = self.shape()
        x = shape.sample(300, self._generator())
        assert x.shape == (300, shape.ambient_dim) and x.dtype == torch.float64
        _at_most(shape.distance(x), 1e-9 * shape.diameter, "distance of samples")

    def test_samples_follow_the_seed(self) -> None:
        shape = self.shape()
        assert torch.equal(shape.sample(20, self._generator()), shape.sample(20, self._generator()))
        assert not torch.equal(shape.sample(20, self._generator(0)), shape.sample(20, self._generator(1)))
        assert shape.sample(5, self._generator(), dtype=torch.float32).dtype == torch.float32
        assert shape.sample(0, self._generator()).shape == (0, shape.ambient_dim)

    def test_distance_is_that_of_the_projection_and_minimal(self) -> None:
        shape = self.shape()
        y = shape.sample(40, self._generator()) + 0.5 * shape.diameter * self._normals(40, shape.ambient_dim, salt=3)
        projection = shape.project(y)
        distance = shape.distance(y)
        assert float(projection.converged.double().mean()) > 0.95, "too few far points converge to say anything"
        _at_most((distance - (y - projection.points).norm(dim=-1)).abs(), 1e-9 * shape.diameter, "distance - |x - project(x)|")
        nearest = torch.cdist(y, shape.sample(self.samples, self._generator(4))).amin(-1)
        _at_most(distance - nearest, 1e-9 * shape.diameter, "a sample is nearer than the distance")

    def test_volume_agrees_with_the_tube_formula(self) -> None:
        shape, t = self._tube()
        value, error = t.integral(torch.ones(len(t.points), 1, dtype=torch.float64))
        assert float(error) < 0.05 * shape.volume, f"standard error {float(error):.3g} is too large to say anything"
        _at_most(((value - shape.volume) / error).abs(), self.z_bound, f"z of the volume, {shape.volume:.5g} against {float(value):.5g}")

    def test_samples_are_uniform(self) -> None:
        shape, t = self._tube()
        x = shape.sample(self.samples, self._generator(5))
        truth, error = t.mean(_moments(t.points))
        values = _moments(x)
        noise = values.std(0) / len(x) ** 0.5
        _at_most((values.mean(0) - truth).abs() / (noise**2 + error**2 + 1e-24).sqrt(), self.z_bound, "z of a moment of the samples")

    def test_divergence_integrates_to_zero(self) -> None:
        shape = self.shape()
        if not shape.closed:
            return
        values = shape.divergence(self._field(shape), shape.sample(400, self._generator(6)))
        _at_most((values.mean() / (values.std() / len(values) ** 0.5)).abs(), self.z_bound, "z of the integral of a divergence")

    def test_betti_numbers_are_consistent(self) -> None:
        shape = self.shape()
        two, three = shape.betti(2), shape.betti(3)
        assert len(two) == len(three) == shape.dim + 1 and two[0] == three[0] == shape.components >= 1
        assert _euler(two) == _euler(three), f"Euler characteristics {two} {three}"
        assert all(a >= b for a, b in zip(two, three, strict=True)) or shape.dim > 3, "Z/3 cannot see more than Z/2 without 3-torsion"
        assert (two == two[::-1]) if shape.closed else two[-1] == 0, f"duality over Z/2: {two}"
        if shape.closed:
            assert (three == three[::-1] and three[-1] == three[0]) == shape.orientable, f"duality over Z/3: {three}"
            assert not shape.orientable or shape.dim % 4 != 2 or three[shape.dim // 2] % 2 == 0, (
                f"the middle Betti number of an orientable shape is even: {three}"
            )
            assert shape.dim % 2 == 0 or _euler(two) == 0

    def test_diameter_bounds_the_samples_tightly(self) -> None:
        shape = self.shape()
        x = shape.sample(1500, self._generator(8))
        widest = float(torch.cdist(x, x).max())
        assert 0.9 * shape.diameter <= widest <= shape.diameter * (1 + 1e-9), f"diameter {shape.diameter}, samples {widest}"

    def _tube(self) -> tuple[Shape, TubeSamples]:
        shape = self.shape()
        return shape, tube_samples(shape, shape.sample(2000, self._generator(9)), self.reach, self.tube_draws, self._generator(10))


def _moments(x: Tensor) -> Tensor:
    """Coordinates, their squares, cubes and neighbouring products (n, 4 D)."""
    return torch.cat([x, x**2, x**3, x * x.roll(1, -1)], -1)


def _euler(betti: tuple[int, ...]) -> int:
    return sum((-1) ** k * b for k, b in enumerate(betti))
