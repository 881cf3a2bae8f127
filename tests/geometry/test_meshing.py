"""Level sets of closed forms: every vertex on the surface, and clear errors where there is none."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError, MissingDependencyError
from topogen.geometry.meshing import extract_mesh, grid_of, touches_box


def sphere(x):
    return x.norm(dim=1) - 1


def sphere_and_gradient(x):
    return sphere(x), x / x.norm(dim=1, keepdim=True)


def cube(side):
    return torch.full((3,), -side, dtype=torch.float64), torch.full((3,), side, dtype=torch.float64)


def test_vertices_lie_on_the_level_set_after_refinement():
    vertices, faces = extract_mesh(sphere, *cube(1.5), 24, refine=sphere_and_gradient)
    assert vertices.dtype == torch.float64
    assert faces.dtype == torch.int64
    assert len(vertices) > 500
    assert sphere(vertices).abs().max() < 1e-12


def test_without_refinement_vertices_are_second_order_close():
    errors = [float(sphere(extract_mesh(sphere, *cube(1.5), n)[0]).abs().max()) for n in (16, 31)]
    assert errors[1] < errors[0] / 3


def test_another_level_is_another_radius():
    vertices, _ = extract_mesh(sphere, *cube(2.5), 24, level=0.7, refine=sphere_and_gradient)
    assert torch.allclose(vertices.norm(dim=1), torch.full((len(vertices),), 1.7, dtype=torch.float64), atol=1e-12)


def test_normals_follow_the_gradient():
    vertices, faces = extract_mesh(sphere, *cube(1.5), 24)
    a, b, c = vertices[faces].unbind(1)
    volume = float((a * torch.linalg.cross(b, c)).sum()) / 6
    assert volume == pytest.approx(4 / 3 * math.pi, rel=0.02)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_change_nothing(unit):
    def field(x):
        return x.norm(dim=1) - unit

    vertices, faces = extract_mesh(field, *cube(1.5 * unit), 20)
    reference, same = extract_mesh(sphere, *cube(1.5), 20)
    assert torch.equal(faces, same)
    assert torch.allclose(vertices / unit, reference, atol=1e-5)


def test_spacing_is_the_same_along_all_axes():
    grid = grid_of(torch.tensor([0.0, 0.0, 0.0]), torch.tensor([3.0, 1.0, 0.5]), 31)
    assert grid.shape == (31, 11, 6)
    assert grid.spacing == pytest.approx(0.1)
    assert torch.all(grid.upper >= torch.tensor([3.0, 1.0, 0.5]) - 1e-12)


def test_nodes_exactly_on_the_surface_make_no_degenerate_triangles():
    vertices, faces = extract_mesh(lambda x: x.abs().amax(1) - 1, *cube(2.0), 9)
    a, b, c = vertices[faces].unbind(1)
    assert torch.linalg.cross(b - a, c - a).norm(dim=1).min() > 0


def test_a_level_set_outside_the_box_is_refused_with_its_range():
    with pytest.raises(InvalidInputError, match=r"does not cross the box .* enlarge the box"):
        extract_mesh(sphere, *cube(0.5), 10)


def test_a_level_set_that_leaves_the_box_is_refused_or_reported():
    with pytest.raises(InvalidInputError, match="touches the faces"):
        extract_mesh(sphere, *cube(0.8), 16)
    low, high = cube(0.8)
    vertices, _ = extract_mesh(sphere, low, high, 16, allow_open=True)
    assert touches_box(vertices, low, high, 0.05)
    inside, _ = extract_mesh(sphere, *cube(1.5), 16)
    assert not touches_box(inside, *cube(1.5), 0.05)


def test_bad_fields_boxes_and_resolutions_are_named():
    with pytest.raises(InvalidInputError, match="field: not finite at"):
        extract_mesh(lambda x: torch.log(x[:, 0]), *cube(1.0), 10)
    with pytest.raises(InvalidInputError, match="take one output"):
        extract_mesh(lambda x: x, *cube(1.0), 10)
    with pytest.raises(InvalidInputError, match="lower < upper"):
        extract_mesh(sphere, torch.ones(3), torch.zeros(3))
    with pytest.raises(InvalidInputError, match="at least 4 nodes"):
        extract_mesh(sphere, *cube(1.5), 3)
    with pytest.raises(InvalidInputError, match="nodes, above"):
        extract_mesh(sphere, *cube(1.5), 10_000)


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(MissingDependencyError, match=r"topogen\[report\]"):
        extract_mesh(sphere, *cube(1.5), 10)
