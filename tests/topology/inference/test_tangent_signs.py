"""Signs of tangents along short edges tell orientable sets from those that are not, and never call the latter orientable."""

import pytest
import torch

from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.manifolds import shapes
from topogen.manifolds.shapes import FlatTorus, Sphere
from topogen.topology.inference.homology import homology
from topogen.topology.inference.tangent_signs import agree_in_sign


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(name, n, seed=0):
    return shapes.get(name).sample(n, generator=generator(seed))


@pytest.mark.parametrize("name", ["sphere", "torus", "flat_torus", "three_sphere", "special_orthogonal", "genus_two"])
def test_orientable_sets_agree(name):
    points = sample(name, 8000)
    chosen = farthest_points(points, 1500)
    agree, edges, least = agree_in_sign(points, chosen.points, shapes.get(name).dim, chosen.radius)
    assert agree
    assert edges > 1500
    assert least > 0.1


@pytest.mark.parametrize("n", [200, 1000, 8000])
@pytest.mark.parametrize("name", ["klein_bottle", "projective_plane", "moebius_band"])
def test_one_sided_sets_never_do(name, n):
    for seed in range(5):
        points = sample(name, n, seed)
        chosen = farthest_points(points, n // 4)
        assert not agree_in_sign(points, chosen.points, 2, chosen.radius)[0]


def test_a_klein_bottle_times_a_circle_does_not():
    points = torch.cat([sample("klein_bottle", 20_000), sample("circle", 20_000, 1)], 1)
    chosen = farthest_points(points, 3000)
    assert not agree_in_sign(points, chosen.points, 3, chosen.radius)[0]


def test_too_coarse_is_no_yes():
    points = FlatTorus(3).sample(300, generator())
    assert not agree_in_sign(points, points[:50], 3, 1.5)[0]


def test_points_without_edges():
    points = Sphere(3).sample(200, generator())
    assert agree_in_sign(points, points[:5], 3, 1e-9)[1:] == (0, 0.0)


def test_homology_of_a_closed_three_manifold_is_told():
    found = homology(sample("three_sphere", 20_000), dim=3, closed=True, generator=generator())
    assert any(note.startswith("orientable: tangents fitted to the points agree in sign") for note in found.notes)
