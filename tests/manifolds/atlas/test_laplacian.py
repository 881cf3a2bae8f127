"""Laplace-Beltrami eigenvalues in closed form: circle k^2, sphere l(l + 1) with multiplicity 2 l + 1, two components, two constants."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds.atlas.laplacian import eigenfunctions
from topogen.manifolds.atlas.quadrature import quadrature
from topogen.manifolds.shapes import Circle, LinkedCircles, Sphere


def spectrum(shape, count, n=8000, **options):
    samples = shape.sample(n, generator=torch.Generator().manual_seed(0))
    return eigenfunctions(good_cover(samples, shape.dim, shape).atlas, count, **options), samples


def test_circle():
    found, samples = spectrum(Circle(), 7, degree=3, order=24)
    torch.testing.assert_close(found.values, torch.tensor([0.0, 1, 1, 4, 4, 9, 9], dtype=torch.float64), rtol=1e-3, atol=1e-6)
    nodes = quadrature(found.atlas, 24)
    table = found(nodes.points)
    product = nodes.integrate(table.unsqueeze(2) * table.unsqueeze(1)) / nodes.weights.sum()
    torch.testing.assert_close(product, torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-6)
    assert found(samples)[:, 0].std() < 1e-5, "the first is constant"


def test_sphere():
    found, _ = spectrum(Sphere(2), 9)
    torch.testing.assert_close(found.values, torch.tensor([0.0, 2, 2, 2, 6, 6, 6, 6, 6], dtype=torch.float64), rtol=0.01, atol=1e-6)
    # The first eigenspace is that of the coordinates.
    fresh = Sphere(2).sample(500, generator=torch.Generator().manual_seed(1))
    space = found(fresh)[:, 1:4]
    rest = fresh - space @ torch.linalg.lstsq(space, fresh).solution
    assert rest.norm() / fresh.norm() < 0.01


def test_every_component_has_its_constant():
    found, _ = spectrum(LinkedCircles(), 3)
    assert found.values[1] < 1e-6 < 0.5 < found.values[2]


def test_bad_input():
    samples = Circle().sample(2000, generator=torch.Generator().manual_seed(0))
    atlas = good_cover(samples, 1, Circle()).atlas
    with pytest.raises(InvalidInputError, match="count"):
        eigenfunctions(atlas, 0)
    with pytest.raises(InvalidInputError, match="independent functions"):
        eigenfunctions(atlas, 900)
