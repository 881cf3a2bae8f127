"""Meshes are verified as they are: Betti numbers of the complex, closed surfaces named, anything else said to be none."""

import numpy as np
import pytest
import torch
import trimesh

from topogen.errors import InvalidInputError
from topogen.points import write
from topogen.verification import Verdict, verify


def grid_surface(shift=False, n=12):
    """A torus, or with `shift` a Klein bottle, as an n x n grid of a square with sides glued; vertices in no special place."""

    def at(i, j):
        if i == n:
            i, j = 0, (-j if shift else j)
        return i * n + j % n

    faces = [tri for i in range(n) for j in range(n) for tri in ((at(i, j), at(i + 1, j), at(i + 1, j + 1)), (at(i, j), at(i + 1, j + 1), at(i, j + 1)))]
    return trimesh.Trimesh(np.random.default_rng(0).normal(size=(n * n, 3)), np.array(faces), process=False)


def soup(mesh):
    """The same triangles, each with corners of its own."""
    return trimesh.Trimesh(mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3), process=False)


@pytest.mark.parametrize(
    ("mesh", "expect", "name"),
    [
        (trimesh.creation.icosphere(2), "sphere", "a sphere"),
        (soup(trimesh.creation.icosphere(2)), "sphere", "a sphere"),
        (trimesh.creation.torus(1.0, 0.4), "torus", "a torus"),
        (grid_surface(), "torus", "a torus"),
        (grid_surface(shift=True), "klein_bottle", "a Klein bottle"),
    ],
    ids=["sphere", "soup", "torus", "grid", "Klein bottle"],
)
def test_closed_surfaces_are_named_and_proved(mesh, expect, name):
    found = verify(mesh, expect=expect)
    assert (found.verdict, found.label) == (Verdict.CONFIRMED, "proved")
    assert found.summary == f"the subject is {name}"
    wrong = verify(mesh, expect="genus 3")
    assert (wrong.verdict, wrong.label) == (Verdict.REFUTED, "proved")


def test_a_mesh_with_a_hole_is_no_closed_surface():
    sphere = trimesh.creation.icosphere(2)
    found = verify(trimesh.Trimesh(sphere.vertices, sphere.faces[1:], process=False), expect=(1,))
    assert found.verdict is Verdict.CONFIRMED
    assert "the subject has the homology of" in found.summary
    claim = next(claim for claim in found.claims if "closed surface" in claim.text)
    assert claim.holds is False
    assert claim.bound == "3 edges in one triangle, 0 in more than two; 0 vertices with another ring too many"


def test_two_spheres_with_a_common_vertex_are_no_surface():
    ball = trimesh.creation.icosphere(1)
    other = ball.vertices + 2 * ball.vertices[0]
    double = trimesh.Trimesh(np.concatenate([ball.vertices, np.round(other, 12)]), np.concatenate([ball.faces, ball.faces + len(ball.vertices)]), process=False)
    opposite = int(np.linalg.norm(other - ball.vertices[0], axis=1).argmin())
    double.vertices[len(ball.vertices) + opposite] = ball.vertices[0]
    found = verify(double, expect=(1, 0, 2))
    assert found.verdict is Verdict.CONFIRMED
    claim = next(claim for claim in found.claims if "closed surface" in claim.text)
    assert claim.holds is False
    assert "1 vertices with another ring too many" in claim.bound


def test_files_with_faces_are_meshes_and_files_without_are_clouds(tmp_path):
    trimesh.creation.icosphere(4).export(tmp_path / "ball.obj")
    assert verify(tmp_path / "ball.obj", expect="sphere").label == "proved"
    write(tmp_path / "cloud.ply", torch.from_numpy(np.array(trimesh.creation.icosphere(4).vertices)))
    assert verify(tmp_path / "cloud.ply", expect="sphere").label != "proved"


def test_against_a_cloud():
    ball = trimesh.creation.icosphere(3)
    cloud = torch.nn.functional.normalize(torch.randn(3000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)
    found = verify(ball, cloud)
    assert found.verdict is Verdict.CONFIRMED
    assert any("Hausdorff" in claim.text for claim in found.claims)


def test_triangles_without_three_corners_are_refused():
    with pytest.raises(InvalidInputError, match="three different corners"):
        verify(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False), expect="sphere")
