"""The law suites catch planted defects: a suite that passes everything proves nothing."""

import math

import pytest
import torch

from topogen.manifolds import shapes
from topogen.manifolds.base import Manifold, Projection
from topogen.testing import ManifoldLaws, ShapeLaws, tube_samples

TORUS = shapes.Torus()


class _Altered(Manifold):
    """A torus with one part replaced."""

    def __init__(self, dim=2, **parts):
        super().__init__(dim, 3)
        self._parts = parts

    def _project(self, x):
        return self._parts.get("project", TORUS._project)(x)

    def _tangent_basis(self, x):
        return self._parts.get("basis", TORUS._tangent_basis)(x)

    def _mean_curvature(self, x):
        return self._parts.get("curvature", TORUS._mean_curvature)(x)


def laws(**parts):
    class Laws(ManifoldLaws):
        scale = 0.1

        def manifold(self):
            return _Altered(**parts)

        def points(self, n, generator):
            return TORUS.sample(n, generator)

    return Laws()


def onto_core(x):
    """Projects to the core circle, of dimension 1, as a residual of rank 2 instead of 1 would."""
    ring = x[:, :2] / x[:, :2].norm(dim=-1, keepdim=True)
    points = torch.cat([ring, torch.zeros_like(x[:, 2:])], -1)
    return _done(points)


def onto_thick_torus(x):
    """Leaves points within the solid torus alone, as a residual of rank 0 there would."""
    inside = torch.hypot(x[:, :2].norm(dim=-1) - 1, x[:, 2]) < 0.4 + 1e-6
    return _done(torch.where(inside.unsqueeze(-1), x, TORUS._project(x).points))


def _done(points):
    zero = points.detach().new_zeros(len(points))
    return Projection(points, zero, zero == 0, zero.long())


def test_the_unaltered_torus_passes():
    suite = laws()
    for name in dir(suite):
        if name.startswith("test_"):
            getattr(suite, name)()


def test_unprojected_tangents_are_caught():
    suite = laws(basis=lambda x: torch.eye(3, dtype=x.dtype)[:, :2].expand(len(x), 3, 2))
    for law in (suite.test_tangent_basis_is_tangent, suite.test_derivative_of_project_is_the_tangent_projector, suite.test_project_moves_along_the_normal):
        with pytest.raises(AssertionError):
            law()


def test_a_transposed_frame_is_caught():
    def transposed(x):
        basis = TORUS._tangent_basis(x)
        normal = torch.linalg.cross(basis[..., 0], basis[..., 1])
        return torch.cat([basis, normal.unsqueeze(-1)], -1).mT[..., :2].contiguous()

    suite = laws(basis=transposed)
    suite.test_tangent_basis_is_orthonormal()  # a transposed orthonormal frame is orthonormal: only tangency shows it
    for law in (suite.test_tangent_basis_is_tangent, suite.test_derivative_of_project_is_the_tangent_projector, suite.test_retraction_is_of_first_order):
        with pytest.raises(AssertionError):
            law()


@pytest.mark.parametrize("project", [onto_core, onto_thick_torus])
def test_a_residual_of_the_wrong_rank_is_caught(project):
    suite = laws(project=project)
    caught = 0
    for law in (
        suite.test_derivative_of_project_is_the_tangent_projector,
        suite.test_project_moves_along_the_normal,
        suite.test_project_is_idempotent,
        suite.test_geoopt_checks_agree,
    ):
        try:
            law()
        except AssertionError:
            caught += 1
    assert caught >= 2


def test_a_manifold_of_the_wrong_dimension_is_caught():
    suite = laws(dim=1, basis=lambda x: TORUS._tangent_basis(x)[..., :1])
    with pytest.raises(AssertionError):
        suite.test_derivative_of_project_is_the_tangent_projector()


def test_a_projection_along_a_slope_is_caught():
    suite = laws(project=lambda x: TORUS._project(x + 0.3 * (x - TORUS._project(x).points).roll(1, -1)))
    with pytest.raises(AssertionError):
        suite.test_project_moves_along_the_normal()


@pytest.mark.parametrize("factor", [-1.0, 0.5])
def test_a_wrong_curvature_is_caught(factor):
    suite = laws(curvature=lambda x: factor * TORUS._mean_curvature(x))
    for law in (suite.test_mean_curvature_is_the_trace_of_the_second_form, suite.test_divergence_is_the_trace_of_the_derivative):
        with pytest.raises(AssertionError):
            law()


def test_a_projection_without_a_gradient_is_caught():
    suite = laws(project=lambda x: TORUS._project(x.detach()))
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        suite.test_project_is_differentiable()


def test_a_batch_that_mixes_its_rows_is_caught():
    suite = laws(project=lambda x: TORUS._project(x + 1e-6 * (x.mean(0) - x)))
    with pytest.raises(AssertionError):
        suite.test_batch_equals_singles()


def uniform_in_angles(n, generator):
    u, v = 2 * math.pi * torch.rand(2, n, generator=generator, dtype=torch.float64)
    rho = TORUS.R + TORUS.r * v.cos()
    return torch.stack([rho * u.cos(), rho * u.sin(), TORUS.r * v.sin()], -1)


class _Planted(ShapeLaws):
    """Laws of a torus whose named attributes are replaced."""

    def __init__(self, **parts):
        self.parts = parts

    def shape(self):
        torus = shapes.Torus()
        for name, part in self.parts.items():
            object.__setattr__(torus, name, part)
        return torus


def test_an_area_wrong_sampler_is_caught():
    _Planted().test_samples_are_uniform()
    with pytest.raises(AssertionError, match="moment"):
        _Planted(_sample=uniform_in_angles).test_samples_are_uniform()


def test_a_wrong_volume_is_caught():
    _Planted().test_volume_agrees_with_the_tube_formula()
    with pytest.raises(AssertionError, match="volume"):
        _Planted(_volume=lambda: 2 * math.pi**2 * 0.4 * 2 * 1.2).test_volume_agrees_with_the_tube_formula()


@pytest.mark.parametrize("betti", [lambda f: (1, 2, 2), lambda f: (1, 2, 1) if f == 2 else (1, 1, 0), lambda f: (1, 2), lambda f: (1, 1, 1)])
def test_wrong_betti_numbers_are_caught(betti):
    with pytest.raises(AssertionError):
        _Planted(_betti=betti).test_betti_numbers_are_consistent()


def test_a_wrong_diameter_is_caught():
    with pytest.raises(AssertionError, match="diameter"):
        _Planted(_diameter=lambda: 3.5).test_diameter_bounds_the_samples_tightly()


def test_the_tube_integrates_a_known_function():
    """int z^2 over the unit sphere = 4 pi / 3; |z-score| <= 6 fails by chance once in 10^8 seeds."""
    sphere = shapes.Sphere()
    generator = torch.Generator().manual_seed(0)
    t = tube_samples(sphere, sphere.sample(500, generator), 0.5, 4000, generator)
    value, error = t.integral(t.points[:, 2:] ** 2)
    assert float(error) < 0.2 and abs(float(value) - 4 * math.pi / 3) < 6 * float(error)


def test_an_unwritten_subclass_says_so():
    with pytest.raises(NotImplementedError, match="manifold"):
        ManifoldLaws().test_project_is_idempotent()
