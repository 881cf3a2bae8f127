"""Curvatures of spheres and the torus, from their second fundamental forms."""

import pytest
import torch

from topogen.geometry.curvature import gauss_curvature, ricci_curvature
from topogen.manifolds import shapes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_spheres_have_the_ricci_curvature_of_their_dimension(dim):
    sphere = shapes.Sphere(dim, radius=2.0)
    found = ricci_curvature(sphere.second_fundamental_form(sphere.sample(20, seeded())))
    assert torch.allclose(found, ((dim - 1) / 4 * torch.eye(dim, dtype=torch.float64)).expand_as(found), atol=1e-6)


def test_surfaces_have_their_gauss_curvature_in_every_direction():
    torus = shapes.get("torus")
    form = torus.second_fundamental_form(torus.sample(50, seeded()))
    expected = gauss_curvature(form)
    assert bool((expected < -0.1).any()) and bool((expected > 0.1).any())
    assert torch.allclose(ricci_curvature(form), expected[:, None, None] * torch.eye(2, dtype=torch.float64), atol=1e-6)
