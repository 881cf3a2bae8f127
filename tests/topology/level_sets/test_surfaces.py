"""Facts of meshes against closed forms, and the mesh of implicit surfaces with ghosts reported."""

import json
import math

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.geometry.meshing import extract_mesh
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.shapes import Circle, Sphere, Torus
from topogen.topology.level_sets.surfaces import mesh_of, surface_facts


def torus(x):
    return ((x[:, 0] ** 2 + x[:, 1] ** 2).sqrt() - 1) ** 2 + x[:, 2] ** 2 - 0.16


def ball(x, centre, radius):
    return (x - torch.tensor(centre, dtype=x.dtype)).norm(dim=1) - radius


def two_spheres(x):
    return torch.minimum(ball(x, (0.0, 0.0, 0.0), 1.0), ball(x, (3.0, 0.0, 0.0), 0.5))


def genus_two(x):
    lemniscate = x[:, 0] * (x[:, 0] - 1) ** 2 * (x[:, 0] - 2) + x[:, 1] ** 2
    return lemniscate**2 + x[:, 2] ** 2 - 0.01


CLOSED = {
    "torus": (torus, (-1.6, -1.6, -0.8), (1.6, 1.6, 0.8), 0, 1, 1),
    "sphere": (lambda x: ball(x, (0.0, 0.0, 0.0), 1.0), (-1.3,) * 3, (1.3,) * 3, 2, 1, 0),
    "two spheres": (two_spheres, (-1.3, -1.3, -1.3), (3.8, 1.3, 1.3), 4, 2, None),
    "genus two": (genus_two, (-0.4, -1.0, -0.4), (2.4, 1.0, 0.4), -2, 1, 2),
}


def mesh(name, resolution=64):
    field, low, high, *_ = CLOSED[name]
    return extract_mesh(field, torch.tensor(low), torch.tensor(high), resolution)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_surfaces(name):
    euler, components, genus = CLOSED[name][3:]
    facts = surface_facts(*mesh(name))
    assert (facts.euler_characteristic, facts.components, facts.genus) == (euler, components, genus)
    assert facts.watertight
    assert facts.winding_consistent
    assert facts.boundary_edges == 0


def test_area_and_volume_of_the_torus():
    facts = surface_facts(*mesh("torus", 96))
    assert facts.area == pytest.approx(4 * math.pi**2 * 0.4, rel=0.005)
    assert facts.volume == pytest.approx(2 * math.pi**2 * 0.16, rel=0.01)
    assert "genus 1" in facts.to_text()
    assert json.loads(json.dumps(facts.to_dict()))["genus"] == 1


def test_a_missing_face_opens_the_mesh():
    vertices, faces = mesh("sphere", 20)
    facts = surface_facts(vertices, faces[1:])
    assert not facts.watertight
    assert facts.boundary_edges == 3
    assert facts.genus is None
    assert facts.volume is None
    assert facts.euler_characteristic == 1
    assert "3 boundary edges" in facts.to_text()


def test_one_flipped_face_spoils_the_winding_and_the_genus():
    vertices, faces = mesh("sphere", 20)
    facts = surface_facts(vertices, torch.cat([faces[:1].flip(1), faces[1:]]))
    assert facts.watertight
    assert not facts.winding_consistent
    assert facts.genus is None


def test_unused_vertices_do_not_count():
    vertices, faces = mesh("sphere", 20)
    more = torch.cat([vertices, torch.full((5, 3), 9.0, dtype=torch.float64)])
    assert surface_facts(more, faces).euler_characteristic == 2
    assert surface_facts(more, faces).components == 1


def test_pieces_that_share_a_vertex_are_one_component():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    assert surface_facts(vertices, torch.tensor([[0, 1, 2], [0, 3, 4]])).components == 1


def test_bad_meshes_are_named():
    vertices, faces = mesh("sphere", 12)
    with pytest.raises(InvalidInputError, match="faces: row numbers run"):
        surface_facts(vertices[:-1], faces)
    with pytest.raises(InvalidInputError, match="faces: expected integer rows"):
        surface_facts(vertices, faces.double())
    with pytest.raises(InvalidInputError, match="vertices: expected finite"):
        surface_facts(vertices * math.nan, faces)


def implicit(field):
    return ImplicitManifold(lambda x: field(x).unsqueeze(1), 2, 3)


def test_the_mesh_of_a_manifold_is_closed_and_on_it():
    points = Torus().sample(2000, torch.Generator().manual_seed(0))
    found = mesh_of(implicit(torus), points, 48)
    assert found.facts.genus == 1
    assert found.ghosts == ()
    assert not found.touches_box
    assert torus(found.vertices).abs().max() < 1e-12
    assert found.facts.volume > 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normals_point_outwards_whatever_the_sign_of_the_constraint(sign):
    points = Sphere(2).sample(500, torch.Generator().manual_seed(0))
    found = mesh_of(implicit(lambda x: sign * ball(x, (0.0, 0.0, 0.0), 1.0)), points, 24)
    a, b, c = found.vertices[found.faces].unbind(1)
    assert float((a * torch.linalg.cross(b, c)).sum()) > 0


def test_a_ghost_sheet_is_reported_and_can_be_left_out():
    def with_speck(x):
        return torch.minimum(torus(x), ball(x, (1.3, 1.3, 0.0), 0.15))

    points = Torus().sample(2000, torch.Generator().manual_seed(0))
    found = mesh_of(implicit(with_speck), points, 64, tolerance=0.1)
    assert found.facts.components == 2
    assert found.ghosts == (1,)
    assert found.pieces[1].nearest > 0.2
    assert "ghost sheet" in found.to_text()
    assert surface_facts(*found.without_ghosts()).genus == 1
    assert json.loads(json.dumps(found.to_dict()))["ghosts"] == [1]


def test_a_zero_set_that_leaves_the_box_is_said_to_be_cut():
    points = Sphere(2).sample(500, torch.Generator().manual_seed(0))
    found = mesh_of(implicit(lambda x: torch.minimum(ball(x, (0.0, 0.0, 0.0), 1.0), x[:, 2] + 1.2)), points, 32)
    assert found.touches_box
    assert not found.facts.watertight
    assert "leaves the box" in found.to_text()


def test_what_cannot_be_meshed_is_refused_with_a_way_out():
    points = Torus().sample(200, torch.Generator().manual_seed(0))
    with pytest.raises(NotSupportedError, match="has no constraint"):
        mesh_of(Torus(), points)
    with pytest.raises(NotSupportedError, match="has 2 outputs"):
        mesh_of(ImplicitManifold(lambda x: torch.stack([torus(x), 0 * torus(x)], 1), 2, 3), points)
    with pytest.raises(NotSupportedError, match="dimension 1 in R"):
        mesh_of(ImplicitManifold(lambda x: x[:, :2] ** 2 - 1, 1, 3), points)
    gated = ImplicitManifold(lambda x: torus(x).unsqueeze(1), 2, 3, gate=Gate(points, 0.3, 3))
    with pytest.raises(NotSupportedError, match="boundary"):
        mesh_of(gated, points)
    flat = torch.cat([Circle().sample(50, torch.Generator().manual_seed(0)), torch.zeros(50, 1, dtype=torch.float64)], 1)
    assert mesh_of(implicit(torus), torch.cat([flat, 1.4 * flat]), 32).facts.components >= 1
