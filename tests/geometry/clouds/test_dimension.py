"""Intrinsic dimension on shapes of known dimension: every cell of the table at 1 % noise, native and in R^100, and what no estimator should be fooled by."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.dimension import affine_hull, estimate_dimension, two_nn

TAU = 2 * math.pi


def uniform(g, *shape):
    return torch.rand(*shape, generator=g, dtype=torch.float64)


def circle(n, g):
    t = TAU * uniform(g, n)
    return torch.stack([t.cos(), t.sin()], 1)


def sphere(n, g, dim=2):
    x = torch.randn(n, dim + 1, generator=g, dtype=torch.float64)
    return x / x.norm(dim=1, keepdim=True)


def torus(n, g, small=0.4):
    u, v = TAU * uniform(g, 2, 4 * n)
    keep = uniform(g, 4 * n) < (1 + small * v.cos()) / (1 + small)
    u, v = u[keep][:n], v[keep][:n]
    return torch.stack([(1 + small * v.cos()) * u.cos(), (1 + small * v.cos()) * u.sin(), small * v.sin()], 1)


def clifford(n, g):
    return torch.cat([circle(n, g), circle(n, g)], 1) / math.sqrt(2)


def klein(n, g):
    u, v = TAU * uniform(g, 2, n)
    rho = 1 + 0.5 * v.cos()
    return torch.stack([rho * u.cos(), rho * u.sin(), 0.5 * v.sin() * (u / 2).cos(), 0.5 * v.sin() * (u / 2).sin()], 1)


def rotations(n, g):
    w, x, y, z = sphere(n, g, 3).T
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]
    return torch.stack([*rows, 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], 1)


def trefoil(n, g):
    t = TAU * uniform(g, n)
    return torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], 1) / 3


def linked(n, g):
    a, b = circle(n // 2, g), circle(n - n // 2, g)
    return torch.cat([torch.stack([a[:, 0], a[:, 1], 0 * a[:, 0]], 1), torch.stack([1 + b[:, 0], 0 * b[:, 0], b[:, 1]], 1)])


def swiss_roll(n, g):
    t = 1.5 * math.pi * (1 + 8 * uniform(g, n)).sqrt()
    return torch.stack([t * t.cos(), t * t.sin(), 20 * uniform(g, n)], 1) / 10


def moebius(n, g):
    u, v = TAU * uniform(g, n), uniform(g, n) - 0.5
    rho = 1 + v * (u / 2).cos()
    return torch.stack([rho * u.cos(), rho * u.sin(), v * (u / 2).sin()], 1)


def two_spheres(n, g):
    x = sphere(n, g)
    x[n // 2 :, 0] += 3
    return x


def two_tori(n, g):
    x = torus(n, g)
    x[n // 2 :, 0] += 2.8
    return x


def sphere_and_circle(n, g):
    x = torch.cat([sphere(3 * n // 4, g), torch.cat([circle(n // 4, g), torch.zeros(n // 4, 1, dtype=torch.float64)], 1)])
    x[3 * n // 4 :, 0] += 3
    return x


SHAPES = {
    "circle": (circle, 1),
    "linked": (linked, 1),
    "trefoil": (trefoil, 1),
    "sphere": (sphere, 2),
    "torus": (torus, 2),
    "clifford": (clifford, 2),
    "klein": (klein, 2),
    "swiss roll": (swiss_roll, 2),
    "moebius": (moebius, 2),
    "two spheres": (two_spheres, 2),
    "two tori": (two_tori, 2),
    "rotations": (rotations, 3),
    "sphere 3": (lambda n, g: sphere(n, g, 3), 3),
}


def make(name, n, seed=0, ambient=None, sigma=0.0):
    g = torch.Generator().manual_seed(seed)
    x = SHAPES[name][0](n, g)
    if ambient is not None:
        frame = torch.linalg.qr(torch.randn(ambient, ambient, generator=g, dtype=torch.float64)).Q
        x = x @ frame[:, : x.shape[1]].T
    return x + sigma * torch.randn(x.shape, generator=g, dtype=torch.float64)


def estimate(x, seed=0):
    return estimate_dimension(x, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sigma", [0.0, 0.01])
@pytest.mark.parametrize("ambient", [None, 100])
@pytest.mark.parametrize("name", SHAPES)
def test_every_cell_of_the_table(name, ambient, sigma):
    found = estimate(make(name, 2000, ambient=ambient, sigma=sigma))
    assert found.dim == SHAPES[name][1]
    assert found.mixed == (found.dim,)
    assert found.k in found.plateau


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("relative", [0.01, 0.04])
def test_noise_relative_to_the_diameter(name, relative):
    if name in ("swiss roll", "two tori") and relative == 0.04:
        pytest.skip("noise above a third of the distance between the sheets fills the space between them")
    x = make(name, 5000, seed=1)
    extent = float((x - x.mean(0)).norm(dim=1).max()) * 2
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert estimate(x + relative * extent * noise).dim == SHAPES[name][1]


@pytest.mark.parametrize("name", ["circle", "sphere", "torus"])
def test_a_thousand_points(name):
    assert estimate(make(name, 1000)).dim == SHAPES[name][1]


def test_torus_in_a_hundred_dimensions_with_noise_as_long_as_its_tube():
    x = make("torus", 5000, ambient=100, sigma=0.02)
    assert affine_hull(x).dim == 3
    assert estimate(x).dim == 2


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 8])
def test_codimension_zero_is_the_ambient_dimension(dim):
    g = torch.Generator().manual_seed(0)
    assert estimate(uniform(g, 2000, dim)).dim == dim
    assert estimate(torch.randn(2000, dim, generator=g, dtype=torch.float64)).dim == dim


def test_a_sphere_with_a_circle_shows_both_dimensions():
    found = estimate(sphere_and_circle(4000, torch.Generator().manual_seed(0)))
    assert found.dim == 2
    assert found.mixed == (1, 2)
    assert found.histogram[1] == pytest.approx(0.25, abs=0.06)


def test_disagreement_is_told_where_noise_fools_the_nearest_neighbours():
    clean, noisy = estimate(make("sphere", 5000)), estimate(make("sphere", 5000, sigma=0.05))
    assert clean.agreement
    assert not noisy.agreement
    assert noisy.two_nn > 2.5
    assert clean.dim == noisy.dim == 2


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_two_nn_on_uniform_cubes(dim):
    x = uniform(torch.Generator().manual_seed(3), 4000, dim)
    # The slope's standard error is some 3 % here; three of them.
    assert two_nn(x) == pytest.approx(dim, rel=0.1)


def test_two_nn_ignores_duplicates_and_says_nan_for_nothing():
    x = make("sphere", 2000)
    assert two_nn(torch.cat([x, x[:100]])) == pytest.approx(two_nn(x[100:]), rel=0.1)
    assert math.isnan(two_nn(torch.zeros(20, 2, dtype=torch.float64)))


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_and_position_do_not_matter(factor):
    x = make("klein", 1500, sigma=0.01)
    assert estimate(factor * (x + 3)).dim == estimate(x).dim == 2


def test_same_generator_same_answer_and_input_untouched():
    x = make("torus", 1000)
    before = x.clone()
    assert estimate(x) == estimate(x)
    assert torch.equal(x, before)


def test_hull_drops_exact_zeros_and_noise_and_keeps_the_rest():
    x = make("circle", 500, ambient=30)
    hull = affine_hull(x)
    assert hull.dim == 2
    assert hull.noise < 1e-12
    torch.testing.assert_close(hull.mean + hull.coordinates(x) @ hull.basis.T, x)
    noisy = affine_hull(make("circle", 2000, ambient=30, sigma=0.01))
    assert noisy.dim == 2
    assert noisy.noise == pytest.approx(0.01, rel=0.05)
    assert affine_hull(make("torus", 500)).dim == 3


def test_hull_of_fewer_points_than_coordinates():
    x = torch.randn(12, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hull = affine_hull(x)
    assert hull.dim <= 11
    assert hull.complement.shape[1] == 40 - hull.dim


def test_too_few_points_are_refused():
    with pytest.raises(InvalidInputError, match="3 distinct points"):
        estimate_dimension(torch.zeros(2, 3, dtype=torch.float64))
