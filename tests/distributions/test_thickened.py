"""Thickened densities: they integrate to one over R^D with the exact tube Jacobian, are drawn as they say, and are kept apart from densities on manifolds."""

import math

import pytest
import torch

from topogen.distributions import Estimate, Mixture, Uniform
from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.charts.fine_atlas import fine_atlas
from topogen.distributions.thickened import Thickened, measure_of, same_measure
from topogen.errors import InvalidInputError
from topogen.geometry.curvature import second_fundamental_form
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, FlatTorus, Sphere, Torus

ELLIPSE = ImplicitManifold(lambda x: (x[:, :1] / 2) ** 2 + x[:, 1:] ** 2 - 1, 1, 2, scale=2.0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape, scale", [(Circle(), 0.1), (Sphere(), 0.1), (Torus(), 0.06)], ids=str)
def test_the_density_integrates_to_one_over_the_space(shape, scale):
    """By uniform points of a box, within 4.5 standard errors and 2 %; without the tube's Jacobian the outside would count too much."""
    side = 1.6
    x = side * (2 * torch.rand(60_000, shape.ambient_dim, generator=seeded(0), dtype=torch.float64) - 1)
    value = Thickened(Uniform(shape), scale).log_prob(x).exp() * (2 * side) ** shape.ambient_dim
    error = float(value.std() / len(value) ** 0.5)
    assert abs(float(value.mean()) - 1) < 4.5 * error and error < 0.02


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.25])
def test_the_density_around_a_circle_and_a_sphere_is_the_closed_form(radius):
    """On a sphere of dimension d the tube at distance r from the centre is r^d times as wide."""
    for shape, volume, dim in ((Circle(), 2 * math.pi, 1), (Sphere(), 4 * math.pi, 2)):
        x = radius * shape.sample(5, seeded(1))
        expected = -math.log(volume) - (radius - 1) ** 2 / (2 * 0.2**2) - math.log(0.2 * math.sqrt(2 * math.pi)) - dim * math.log(radius)
        assert torch.allclose(Thickened(Uniform(shape), 0.2).log_prob(x), torch.full((5,), expected, dtype=torch.float64), atol=1e-4)


def test_samples_have_the_density():
    """E_p[f / p] is the integral of f, here 1 on a shell of radii .8 to 1.2 around a sphere, within 4.5 standard errors."""
    thick = Thickened(Uniform(Sphere()), 0.15)
    x = thick.sample((20_000,), seeded(2))
    radius = x.norm(dim=1)
    inverse = torch.where((radius > 0.8) & (radius < 1.2), (-thick.log_prob(x)).exp(), 0.0)
    assert abs(float(inverse.mean()) - 4 / 3 * math.pi * (1.2**3 - 0.8**3)) < 4.5 * float(inverse.std() / len(x) ** 0.5)


def test_the_curvature_behind_it_is_that_of_known_shapes():
    x = Torus().sample(50, seeded(3))
    form = second_fundamental_form(lambda y: Torus().project(y).points, Torus().tangent_basis, x)
    assert torch.allclose(form.diagonal(dim1=2, dim2=3).sum(-1), Torus().mean_curvature(x), atol=1e-5)
    flat = FlatTorus().sample(50, seeded(4))
    form = second_fundamental_form(lambda y: FlatTorus().project(y).points, FlatTorus().tangent_basis, flat)
    assert float(form[..., 0, 1].abs().max()) < 1e-5
    # Gauss: <II_11, II_22> - |II_12|^2 is the curvature, 0.
    assert float(((form[..., 0, 0] * form[..., 1, 1]).sum(-1) - form[..., 0, 1].square().sum(-1)).abs().max()) < 1e-5


def test_a_projection_that_is_not_orthogonal_is_led_on_to_the_nearest_point():
    x = torch.tensor([[2.2, 0.3], [0.5, 1.3], [-1.2, -1.1]], dtype=torch.float64)
    uniform = Uniform(ELLIPSE, volume=Estimate(9.688448, 0.0, "perimeter"))
    exact = Thickened(uniform, 0.3)
    loose = Thickened(uniform, 0.3)
    loose.distribution = Uniform(ELLIPSE.with_fast_projection(), volume=uniform.volume)
    foot = loose._feet(x)[0]
    assert torch.allclose(foot, ELLIPSE.project(x).points, atol=1e-7)
    assert torch.allclose(exact.log_prob(x), loose.log_prob(x), atol=1e-4)
    normal = torch.stack([foot[:, 0] / 4, foot[:, 1]], 1)
    bend = 2 / ((2 * foot[:, 1]) ** 2 + (foot[:, 0] / 2) ** 2) ** 1.5 * ((x - foot) * normal).sum(1) / normal.norm(dim=1)
    closed = -math.log(9.688448) - (x - foot).square().sum(1) / 0.18 - math.log(0.3 * math.sqrt(2 * math.pi)) - (1 + bend).log()
    assert torch.allclose(exact.log_prob(x), closed, atol=1e-3)


def test_it_is_minus_infinity_where_nothing_is_nearest():
    assert float(Thickened(Uniform(Sphere()), 0.5).log_prob(torch.zeros(1, 3, dtype=torch.float64))) == -math.inf
    assert Thickened(Uniform(Sphere()), 0.5).log_prob(torch.ones(2, 3)).dtype == torch.float32


def test_measures_are_told_apart():
    sphere, thick = Uniform(Sphere()), Thickened(Uniform(Sphere()), 0.1)
    charts = ChartMixture(fine_atlas(Sphere(), Sphere().sample(500, seeded(6)), (20,)))
    assert (measure_of(sphere), measure_of(charts), measure_of(thick)) == ("hausdorff", "hausdorff", "lebesgue")
    same_measure(sphere, charts)
    same_measure(thick, Thickened(Uniform(Circle()), 0.1))
    for pair in ((sphere, thick), (sphere, Uniform(Circle()))):
        with pytest.raises(InvalidInputError, match="different measures"):
            same_measure(*pair)
    with pytest.raises(InvalidInputError, match="Thickened"):
        Mixture([sphere, thick])
    with pytest.raises(InvalidInputError, match="distribution"):
        Thickened(thick, 0.1)
    with pytest.raises(InvalidInputError, match="scale"):
        Thickened(sphere, 0.0)
