"""Patches and tube: exact volumes and laws for constraints of every kind by two independent roads, and the defects they must not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from constraints import ellipse, overcomplete_torus, torus
from torch import Tensor

from topogen.distributions import Uniform
from topogen.distributions.uniform.patches import Patches, patches_on
from topogen.distributions.uniform.tube import Tube, _checked, tube_around
from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.balls import ball_volume
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.shapes import Torus

Maker = Callable[[ImplicitManifold, Tensor, torch.Generator], Tube | Patches]

ELLIPSE_LENGTH = 13.3648932205553
ELLIPSE_SQUARE = 3.4758


def circle_in_space(x: Tensor) -> Tensor:
    return torch.stack([x[:, :2].norm(dim=1) - 1, x[:, 2]], 1)


def sphere(x: Tensor) -> Tensor:
    return x.square().sum(1, keepdim=True) - 1


def two_circles(x: Tensor) -> Tensor:
    far = x - torch.tensor([4.0, 0.0], dtype=x.dtype)
    return ((x.norm(dim=1) - 1) * (far.norm(dim=1) - 0.5)).unsqueeze(1)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def on_sphere(n: int, ambient: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, ambient, generator=generator, dtype=torch.float64), dim=1)


def two_starts() -> Tensor:
    return torch.tensor([[1.0, 0.0], [4.5, 0.0]], dtype=torch.float64)


CASES = {
    "torus": (ImplicitManifold(torus, 2, 3), Torus(1.0, 0.5).sample(50, seed(0)), 2 * math.pi**2),
    "overcomplete torus": (ImplicitManifold(overcomplete_torus, 2, 3), Torus(1.0, 0.5).sample(50, seed(0)), 2 * math.pi**2),
    "circle in space": (ImplicitManifold(circle_in_space, 1, 3), torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), 2 * math.pi),
    "ellipse": (ImplicitManifold(ellipse, 1, 2), on_sphere(50, 2, seed(0)), ELLIPSE_LENGTH),
    "S^3": (ImplicitManifold(sphere, 3, 4), on_sphere(50, 4, seed(0)), 2 * math.pi**2),
    "two circles": (ImplicitManifold(two_circles, 1, 2), two_starts(), 3 * math.pi),
}


@pytest.mark.parametrize("method", ["patches", "tube"])
@pytest.mark.parametrize("name", CASES)
def test_volume(name: str, method: str) -> None:
    """Within 3.5 s.e. (false alarm .05 % each), and the standard error is below 1 %."""
    manifold, points, truth = CASES[name]
    volume = Uniform(manifold, points=points, method=method, generator=seed(1)).volume
    assert method in volume.method
    assert abs(volume.value - truth) < 3.5 * volume.standard_error
    assert volume.standard_error < 0.01 * truth


@pytest.mark.parametrize("method", ["patches", "tube"])
def test_law_of_the_samples(method: str) -> None:
    """Ellipse E x^2 and torus E cos phi within 3.3 s.e. (false alarm .1 % each)."""
    x = Uniform(CASES["ellipse"][0], points=CASES["ellipse"][1], method=method, generator=seed(2)).sample((8000,), generator=seed(3))[:, 0] ** 2
    assert abs(float(x.mean()) - ELLIPSE_SQUARE) < 3.3 * float(x.std()) / 8000**0.5
    y = Uniform(CASES["torus"][0], points=CASES["torus"][1], method=method, generator=seed(2)).sample((8000,), generator=seed(3))
    cosine = (y[:, :2].norm(dim=1) - 1) / 0.5
    assert abs(float(cosine.mean()) - 0.25) < 3.3 * float(cosine.std()) / 8000**0.5


@pytest.mark.parametrize("method", ["patches", "tube"])
def test_components_are_weighted_by_their_volume(method: str) -> None:
    """Two circles from one known point on each: two thirds on the larger, 3.3 s.e. (false alarm .1 %)."""
    x = Uniform(CASES["two circles"][0], points=two_starts(), method=method, generator=seed(4)).sample((4000,), generator=seed(5))
    share = float((x[:, 0] < 2).double().mean())
    assert abs(share - 2 / 3) < 3.3 * (2 / 9 / 4000) ** 0.5


class _WithoutDeterminant(ImplicitManifold):
    """The planted defect: closest points taken as uniform, the Jacobian det(1 + S) of the tube forgotten."""

    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        basis, inverse, ok = super().closest_point_derivative(x, z)
        return basis, torch.eye(self.dim, dtype=z.dtype).expand_as(inverse), ok


def test_a_missing_determinant_is_caught() -> None:
    """S^3 at delta = .4: the tube's volume is off by the factor (1.4^4 - .6^4) / (8 * .4) = 1.16, far beyond 3.5 s.e."""
    volume = Uniform(_WithoutDeterminant(sphere, 3, 4), points=CASES["S^3"][1], method="tube", generator=seed(1)).volume
    assert abs(volume.value - 2 * math.pi**2) > 10 * volume.standard_error


def test_missing_slopes_of_the_patches_are_caught() -> None:
    """Sphere from six wide patches at +-e_i: 4 pi within 3.5 s.e. (false alarm .05 %); with 1 / |det(T_k^t T)| forgotten it is off by 5 s.e. and more."""
    anchors = torch.cat([torch.eye(3, dtype=torch.float64), -torch.eye(3, dtype=torch.float64)])
    manifold = ImplicitManifold(sphere, 2, 3)
    patches = Patches(manifold, anchors, manifold.tangent_basis(anchors), manifold.normal_basis(anchors), 0.85, torch.inf)
    volume = patches.volume(seed(1))
    assert abs(volume.value - 4 * math.pi) < 3.5 * volume.standard_error
    n = 20_000
    kept = len(patches.hits(n, seed(2))[0]) / n
    forgotten = 6 * ball_volume(2, 0.85)
    assert 4 * math.pi - forgotten * kept > 5 * forgotten * (kept * (1 - kept) / n) ** 0.5


def test_agrees_with_the_first_order_co_area_weight() -> None:
    """Band {|F| < delta} with weight det(J J^t)^(1/2) (notes 0.4), first order in delta: the ellipse's length within 3.5 s.e. plus 1 %."""
    manifold, points, _ = CASES["ellipse"]
    n, delta = 400_000, 0.02
    y = (torch.rand(n, 2, generator=seed(6), dtype=torch.float64) - 0.5) * torch.tensor([7.0, 3.0], dtype=torch.float64)
    inside = ellipse(y).abs().squeeze(1) < delta
    weight = torch.where(inside, (y / torch.tensor([9.0, 1.0], dtype=torch.float64)).norm(dim=1), 0.0) * 21 / (2 * delta)
    volume = Uniform(manifold, points=points, method="tube", generator=seed(1)).volume
    error = math.hypot(float(weight.std()) / n**0.5, volume.standard_error)
    assert abs(float(weight.mean()) - volume.value) < 3.5 * error + 0.01 * volume.value


def test_a_tube_beyond_the_reach_shows_as_irreversible() -> None:
    tube = tube_around(CASES["torus"][0], CASES["torus"][1], seed(7))
    assert tube.irreversible <= 2e-3
    assert tube.radius == pytest.approx(0.2, rel=0.1)
    assert _checked(replace(tube, radius=0.8), seed(8)).irreversible > 0.05


@pytest.mark.parametrize("method", ["patches", "tube"])
def test_gate_bounds_the_volume(method: str) -> None:
    """Upper hemisphere given by a gate of 3000 points: area 2 pi within 2 %, samples inside up to the gate's blur."""
    points = on_sphere(6000, 3, seed(9))
    points = points[points[:, 2] > 0]
    hemisphere = ImplicitManifold(sphere, 2, 3, gate=Gate(points, 0.15, 8))
    uniform = Uniform(hemisphere, method=method, generator=seed(10))
    assert abs(uniform.volume.value / (2 * math.pi) - 1) < 0.02
    x = uniform.sample((3000,), generator=seed(11))
    assert float(x[:, 2].min()) > -0.08
    assert bool(hemisphere.project(x).converged.all())
    assert float(uniform.log_prob(torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64))) == -math.inf
    assert hemisphere.gate is not None


@pytest.mark.parametrize("make", [patches_on, tube_around])
def test_unbounded_and_empty_sets_are_refused(make: Maker) -> None:
    cylinder = ImplicitManifold(lambda x: x[:, :2].norm(dim=1, keepdim=True) - 1, 2, 3)
    with pytest.raises(InvalidInputError, match="gate"):
        make(cylinder, on_sphere(50, 3, seed(0)), seed(1))
    empty = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) + 1, 2, 3)
    with pytest.raises(ProjectionError):
        make(empty, on_sphere(50, 3, seed(0)), seed(1))


@pytest.mark.parametrize("make", [patches_on, tube_around])
def test_samples_are_on_m_and_follow_the_seed(make: Maker) -> None:
    manifold, points, _ = CASES["circle in space"]
    x = make(manifold, points, seed(0)).sample(200, seed(1))
    assert float(manifold.kept_residual(x).max()) < 1e-9
    assert torch.equal(x, make(manifold, points, seed(0)).sample(200, seed(1)))
