"""Noise, spacing, reach and boundary against shapes whose lengths are known: within 30 % where noise leaves them visible, no false boundary."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.scales import boundary_points, diameter, estimate_scales

TAU = 2 * math.pi


def uniform(g, *shape):
    return torch.rand(*shape, generator=g, dtype=torch.float64)


def circle(n, g):
    t = TAU * uniform(g, n)
    return torch.stack([t.cos(), t.sin()], 1)


def sphere(n, g, dim=2):
    x = torch.randn(n, dim + 1, generator=g, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def torus(n, g):
    u, v = TAU * uniform(g, 2, 4 * n)
    keep = uniform(g, 4 * n) < (1 + 0.4 * v.cos()) / 1.4
    u, v = u[keep][:n], v[keep][:n]
    return torch.stack([(1 + 0.4 * v.cos()) * u.cos(), (1 + 0.4 * v.cos()) * u.sin(), 0.4 * v.sin()], 1)


def klein(n, g):
    u, v = TAU * uniform(g, 2, 4 * n)
    rho = 1 + 0.5 * v.cos()
    keep = uniform(g, 4 * n) < (rho**2 + (0.25 * v.sin()) ** 2).sqrt() / 1.6
    u, v, rho = u[keep][:n], v[keep][:n], rho[keep][:n]
    return torch.stack([rho * u.cos(), rho * u.sin(), 0.5 * v.sin() * (u / 2).cos(), 0.5 * v.sin() * (u / 2).sin()], 1)


def rotations(n, g):
    w, x, y, z = sphere(n, g, 3).T
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]
    return torch.stack([*rows, 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], 1)


def trefoil(n, g):
    t = TAU * uniform(g, n)
    return torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], 1) / 3


def two_spheres(n, g):
    x = sphere(n, g)
    x[n // 2 :, 0] += 2.2
    return x


def arc(n, g):
    t = 1.5 * math.pi * uniform(g, n)
    return torch.stack([t.cos(), t.sin()], 1)


def hemisphere(n, g):
    x = sphere(n, g)
    return torch.cat([x[:, :2], x[:, 2:].abs()], 1)


def swiss_roll(n, g):
    t = 1.5 * math.pi * (1 + 8 * uniform(g, n)).sqrt()
    return torch.stack([t * t.cos(), t * t.sin(), 20 * uniform(g, n)], 1) / 10


def moebius(n, g):
    u, v = TAU * uniform(g, n), uniform(g, n) - 0.5
    rho = 1 + v * (u / 2).cos()
    return torch.stack([rho * u.cos(), rho * u.sin(), v * (u / 2).sin()], 1)


# Name: sampler, dimension, reach of the shape (5 % quantile of the local one).
CLOSED = {
    "circle": (circle, 1, 1.0),
    "trefoil": (trefoil, 1, 0.203),
    "sphere": (sphere, 2, 1.0),
    "torus": (torus, 2, 0.4),
    "klein": (klein, 2, 0.5),
    "rotations": (rotations, 3, math.sqrt(2)),
}
BOUNDED = {"arc": (arc, 1), "hemisphere": (hemisphere, 2), "swiss roll": (swiss_roll, 2), "moebius": (moebius, 2)}


def noisy(sampler, n, relative, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = sampler(n, g)
    sigma = relative * diameter(x)
    return x + sigma * torch.randn(x.shape, generator=g, dtype=torch.float64), sigma


def scales(x, dim):
    return estimate_scales(x, dim, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("relative", [0.0, 0.005, 0.01])
@pytest.mark.parametrize("n", [1000, 5000])
@pytest.mark.parametrize("name", CLOSED)
def test_noise_and_reach_within_thirty_percent(name, n, relative):
    sampler, dim, reach = CLOSED[name]
    x, sigma = noisy(sampler, n, relative)
    found = scales(x, dim)
    assert found.resolved
    assert found.reach == pytest.approx(reach, rel=0.3)
    assert found.noise == pytest.approx(sigma, rel=0.1, abs=1e-3 * found.diameter)
    assert found.reach_per_point.shape == found.spacing_per_point.shape == (n,)


@pytest.mark.parametrize("name", ["circle", "sphere", "klein", "trefoil", "rotations"])
def test_four_percent_of_noise_is_still_measured_and_the_reach_of_round_shapes_seen_through_it(name):
    sampler, dim, reach = CLOSED[name]
    x, sigma = noisy(sampler, 5000, 0.04)
    found = scales(x, dim)
    assert found.noise == pytest.approx(sigma, rel=0.15)
    if name in ("circle", "sphere", "rotations"):
        assert found.reach == pytest.approx(reach, rel=0.3)


def test_noise_a_quarter_of_the_reach_gives_a_low_reach_not_a_high_one():
    assert scales(noisy(torus, 5000, 0.04)[0], 2).reach < 0.4


@pytest.mark.parametrize("relative", [0.0, 0.01])
@pytest.mark.parametrize("name", CLOSED)
def test_spacing_is_the_mean_distance_to_the_nearest_neighbour_of_the_clean_cloud(name, relative):
    sampler, dim, _ = CLOSED[name]
    clean, (x, _) = noisy(sampler, 2000, 0.0)[0], noisy(sampler, 2000, relative)
    nearest = (torch.cdist(clean, clean).fill_diagonal_(math.inf)).amin(1).mean()
    assert float(scales(x, dim).spacing_per_point.mean()) == pytest.approx(float(nearest), rel=0.25)


def test_spacing_of_a_lattice_is_its_constant():
    axis = torch.linspace(0, 1, 41, dtype=torch.float64)
    x = torch.cat([torch.cartesian_prod(axis, axis), torch.zeros(1681, 1, dtype=torch.float64)], 1)
    assert scales(x, 2).spacing == pytest.approx(0.025, rel=0.1)


def test_a_bottleneck_between_pieces_lowers_the_reach_where_it_is():
    g = torch.Generator().manual_seed(0)
    x = two_spheres(4000, g)
    found = scales(x, 2).reach_per_point
    near = (x - torch.tensor([1.1, 0, 0], dtype=torch.float64)).norm(dim=1) < 0.2
    assert float(found[near].median()) < 0.25
    assert float(found[x[:, 0] < -0.5].median()) > 0.9


def test_a_flat_cloud_has_infinite_reach():
    g = torch.Generator().manual_seed(0)
    x = torch.cat([uniform(g, 1000, 2), torch.zeros(1000, 1, dtype=torch.float64)], 1)
    assert scales(x, 2).reach == math.inf
    assert scales(x, 2).noise < 1e-12


def test_codimension_zero_has_no_noise():
    found = scales(uniform(torch.Generator().manual_seed(0), 500, 2), 2)
    assert found.noise == 0.0
    assert found.resolved


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_lengths_scale_with_the_units(factor):
    x = noisy(klein, 1000, 0.01)[0]
    one, other = scales(x, 2), scales(factor * x, 2)
    for name in ("noise", "spacing", "reach", "diameter"):
        assert getattr(other, name) == pytest.approx(factor * getattr(one, name), rel=1e-6)


def test_same_generator_same_bits_and_input_untouched():
    x = noisy(torus, 1000, 0.01)[0]
    before = x.clone()
    one, other = scales(x, 2), scales(x, 2)
    assert torch.equal(one.reach_per_point, other.reach_per_point)
    assert one.noise == other.noise
    assert torch.equal(x, before)


def test_diameter():
    assert diameter(circle(2000, torch.Generator().manual_seed(0))) == pytest.approx(2, rel=1e-3)
    assert diameter(torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)) == 5.0


@pytest.mark.parametrize("n", [300, 2000])
@pytest.mark.parametrize("relative", [0.0, 0.01])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_shapes_have_no_boundary(name, relative, n):
    """False alarms: under one in a thousand clouds by construction, none in these twenty-four."""
    sampler, dim, _ = CLOSED[name]
    x = noisy(sampler, n, relative, seed=3)[0]
    assert int(boundary_points(x, dim, k=scales(x, dim).k).sum()) == 0


@pytest.mark.parametrize("relative", [0.0, 0.01])
@pytest.mark.parametrize("name", CLOSED)
def test_density_falling_tenfold_is_no_boundary(name, relative):
    sampler, dim, _ = CLOSED[name]
    x = noisy(sampler, 8000, relative, seed=4)[0]
    height = (x[:, 0] - x[:, 0].min()) / (x[:, 0].max() - x[:, 0].min())
    x = x[uniform(torch.Generator().manual_seed(5), len(x)) < 10**-height]
    assert int(boundary_points(x, dim, k=scales(x, dim).k).sum()) == 0


@pytest.mark.parametrize("relative", [0.0, 0.01])
@pytest.mark.parametrize("n", [2000, 4000])
@pytest.mark.parametrize("name", BOUNDED)
def test_boundaries_are_found(name, n, relative):
    sampler, dim = BOUNDED[name]
    x = noisy(sampler, n, relative, seed=6)[0]
    assert int(boundary_points(x, dim, k=scales(x, dim).k).sum()) >= 4


def test_boundary_points_lie_on_the_boundary():
    x = hemisphere(5000, torch.Generator().manual_seed(0))
    rim = x[:, 2] < 0.1
    mask = boundary_points(x, 2)
    assert int(mask.sum()) > 20
    assert bool(rim[mask].all())


@pytest.mark.parametrize("n", [4, 5, 10, 30])
def test_tiny_clouds_give_numbers_and_no_boundary(n):
    x = circle(n, torch.Generator().manual_seed(0))
    found = scales(x, 1)
    assert math.isfinite(found.noise)
    assert math.isfinite(found.spacing)
    assert int(boundary_points(x, 1).sum()) == 0


@pytest.mark.parametrize("dim", [0, 4])
def test_a_dimension_outside_the_space_is_refused(dim):
    with pytest.raises(InvalidInputError, match="expected 1 to 3"):
        estimate_scales(torch.rand(10, 3, dtype=torch.float64), dim)


def test_too_few_points_are_refused():
    with pytest.raises(InvalidInputError, match="at least 4"):
        estimate_scales(torch.rand(3, 3, dtype=torch.float64), 2)
