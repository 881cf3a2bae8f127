"""Area-uniform sampling: against exact areas, with the wrong sampler caught.

Each chi-square test rejects at 1e-6 on a fixed seed; three of them, so the false-alarm rate of this file is below 1e-5 for a new seed.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from topogen.errors import FileFormatError
from topogen.points import read, write
from topogen.points.surface import face_areas, sample_surface

ALPHA = 1e-6


@pytest.fixture(scope="module")
def strip():
    """A flat strip [0, 31] x [0, 1] of very unequal triangles: vertices, faces, exact areas."""
    x = torch.tensor([0.0, 1.0, 3.0, 7.0, 15.0, 31.0], dtype=torch.float64)
    lower = torch.stack((x, torch.zeros_like(x), torch.zeros_like(x)), dim=1)
    vertices = torch.cat((lower, lower + torch.tensor([0.0, 1.0, 0.0])))
    i = torch.arange(5)
    faces = torch.cat((torch.stack((i, i + 1, i + 6), 1), torch.stack((i + 1, i + 7, i + 6), 1)))
    return vertices, faces, (x[1:] - x[:-1]).repeat(2) / 2


def p_value(points, weights):
    """Chi-square of the triangle counts of points on the strip against weights."""
    edges = torch.tensor([0.0, 1.0, 3.0, 7.0, 15.0, 31.0], dtype=torch.float64)
    cell = torch.bucketize(points[:, 0].contiguous(), edges[1:-1], right=True)
    along = (points[:, 0] - edges[cell]) / (edges[cell + 1] - edges[cell])
    triangle = cell + 5 * (along + points[:, 1] > 1)
    counts = torch.bincount(triangle, minlength=10).numpy()
    expected = (weights / weights.sum()).numpy() * len(points)
    return stats.chisquare(counts, expected).pvalue


def uniform_over_faces(vertices, faces, n, generator):
    """The planted defect: every face equally likely."""
    corners = vertices[faces[torch.randint(len(faces), (n,), generator=generator)]]
    u = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    s = u[:, :1].sqrt()
    return (1 - s) * corners[:, 0] + s * (1 - u[:, 1:]) * corners[:, 1] + s * u[:, 1:] * corners[:, 2]


def test_faces_are_hit_in_proportion_to_their_area_and_the_defect_is_caught(strip):
    vertices, faces, areas = strip
    generator = torch.Generator().manual_seed(0)
    assert p_value(sample_surface(vertices, faces, 20_000, generator), areas) > ALPHA
    assert p_value(uniform_over_faces(vertices, faces, 20_000, generator), areas) < ALPHA


def test_uniform_inside_a_face():
    vertices = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    points = sample_surface(vertices, torch.tensor([[0, 1, 2]]), 20_000, torch.Generator().manual_seed(1))
    x, y = points[:, 0], points[:, 1]
    assert float(x.min()) >= 0 and float(y.min()) >= 0 and float((x + y).max()) <= 1 + 1e-15
    # The four triangles of the midpoint subdivision have equal areas.
    part = (0 * x + 1 * (x > 0.5) + 2 * (y > 0.5) + 3 * (x + y < 0.5)).long()
    assert stats.chisquare(torch.bincount(part, minlength=4).numpy()).pvalue > ALPHA
    # Planted defect: without the square root the points crowd at the first corner.
    u = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    crowded = torch.bincount((3 * (u[:, 0] < 0.5)).long(), minlength=4).numpy()
    assert stats.chisquare(crowded, f_exp=[15_000, 1e-9, 1e-9, 5_000]).pvalue < ALPHA


def test_areas_in_units_of_the_extent():
    vertices = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    areas = face_areas(vertices, torch.tensor([[0, 1, 2], [0, 1, 3], [1, 3, 2]]))
    torch.testing.assert_close(areas, torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("factor", [1e-200, 1e-30, 1e30, 1e200])
def test_magnitude_does_not_matter(strip, factor):
    vertices, faces, _ = strip
    here = sample_surface(vertices, faces, 1000, torch.Generator().manual_seed(2))
    there = sample_surface(vertices * factor, faces, 1000, torch.Generator().manual_seed(2))
    torch.testing.assert_close(there / factor, here, rtol=1e-12, atol=1e-12)


def test_faces_of_zero_area_are_never_hit_and_all_zero_is_an_error(strip):
    vertices, faces, _ = strip
    flat = torch.cat((torch.tensor([[0, 0, 1]]), faces[:1], torch.tensor([[2, 3, 3]])))
    assert float(sample_surface(vertices, flat, 1000, torch.Generator().manual_seed(0))[:, 0].max()) <= 1.0
    with pytest.raises(FileFormatError, match="zero area"):
        sample_surface(vertices, flat[[0, 2]], 10)


def test_blocks_agree_with_one_piece(strip):
    vertices, faces, areas = strip
    many = faces.repeat(4000, 1)
    torch.testing.assert_close(face_areas(vertices, many), areas.repeat(4000) / 31.0**2)


def test_read_is_the_same_cloud_each_time_and_touches_no_global_randomness(strip, tmp_path):
    vertices, faces, areas = strip
    write(tmp_path / "strip.ply", vertices, faces)
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    first = read(tmp_path / "strip.ply")
    assert torch.equal(torch.random.get_rng_state(), torch_state) and np.array_equal(np.random.get_state()[1], numpy_state)
    assert first.shape == (20_000, 3) and torch.equal(first, read(tmp_path / "strip.ply"))
    assert p_value(first, areas) > ALPHA
    other = read(tmp_path / "strip.ply", samples=50, generator=torch.Generator().manual_seed(7))
    assert other.shape == (50, 3) and not torch.equal(other, first[:50])


def test_mean_of_a_sphere_mesh(tmp_path):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3)
    write(tmp_path / "sphere.off", mesh.vertices, mesh.faces)
    points = read(tmp_path / "sphere.off", samples=20_000)
    assert points.norm(dim=1).max() <= 1 + 1e-12 and points.norm(dim=1).min() > 0.98
    # Each coordinate has standard deviation below 3^-1/2; six of them is a false alarm of 2e-9.
    assert points.mean(0).abs().max() < 6 / math.sqrt(3 * len(points))
