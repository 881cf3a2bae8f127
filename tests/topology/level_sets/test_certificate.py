"""The grid certificate: right Betti numbers of zero sets in closed form, undecided where it cannot know, never wrong."""

import json

import pytest
import torch
from constraints import ellipse, learned_circle, overcomplete_torus, torus

from topogen.errors import BudgetExceeded, InvalidInputError, NotSupportedError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import KleinBottle, Torus
from topogen.topology.level_sets.certificate import certify_level_set
from topogen.topology.persistence.budget import Budget

CUBE = ([-1.6] * 3, [1.6] * 3)


def sphere(x):
    return (x**2).sum(-1, keepdim=True) - 1


def hopf_link(x):
    """Two circles of radius one, each through the middle of the other: the product of two complex functions."""
    a = torch.complex(x[:, :2].norm(dim=1) - 1, x[:, 2])
    b = torch.complex(torch.stack([x[:, 0] - 1, x[:, 2]], 1).norm(dim=1) - 1, x[:, 1])
    return torch.view_as_real(a * b)


def two_circles(gap):
    def field(x):
        left, right = ((x - torch.tensor([side * (0.5 + gap / 2), 0.0], dtype=x.dtype)).norm(dim=1) - 0.5 for side in (-1, 1))
        return torch.minimum(left, right).unsqueeze(1)

    return field


def lemniscate(x):
    return ((x**2).sum(-1, keepdim=True)) ** 2 - x[:, :1] ** 2 + x[:, 1:] ** 2


@pytest.fixture(scope="module")
def network():
    return learned_circle()


def test_a_sphere_is_proved_with_a_bound_on_its_second_derivative():
    found = certify_level_set(ImplicitManifold(sphere, 2, 3), box=CUBE, resolution=32, second_derivative=2.0)
    assert found.betti == {2: (1, 0, 1), 3: (1, 0, 1)}
    assert found.label == "proved"
    assert found.regular
    assert found.agrees
    assert 0 < found.margin <= 2 * (1 - found.tube) ** 0.5, "the gradient is 2 |x|, least on the inner side of the tube"
    assert found.mesh.genus == 0
    json.dumps(found.to_dict(), allow_nan=False)
    assert "[proved] the zero set in the box: Betti numbers Z/2 (1,0,1)" in found.to_text()


def test_a_learned_constraint_is_proved_by_its_own_enclosure(network):
    found = certify_level_set(network, box=([-1.5] * 2, [1.5] * 2), resolution=64)
    assert found.betti == {2: (1, 1), 3: (1, 1)}
    assert found.label == "proved"
    assert found.regular
    assert certify_level_set(network, box=([-1.5] * 2, [1.5] * 2), resolution=64, sampled=True).label == "heuristic"


@pytest.mark.parametrize(
    ("field", "dim", "box", "betti"),
    [
        (ellipse, 1, ([-4.0, -2.0], [4.0, 2.0]), (1, 1)),
        (two_circles(0.3), 1, ([-1.7, -1.0], [1.7, 1.0]), (2, 2)),
        (hopf_link, 1, ([-1.5, -1.5, -1.5], [2.5, 1.5, 1.5]), (2, 2)),
        (lambda x: (x[:, :2].norm(dim=1, keepdim=True) - 1) ** 2 + x[:, 2:] ** 2 - 0.16, 2, ([-1.8, -1.8, -0.8], [1.8, 1.8, 0.8]), (1, 2, 1)),
    ],
)
def test_betti_numbers_of_sampled_constraints(field, dim, box, betti):
    found = certify_level_set(ImplicitManifold(field, dim, len(box[0])), box=box, resolution=112)
    assert found.betti == {2: betti, 3: betti}, found.to_text()
    assert found.label == "heuristic"
    assert found.agrees is not False


def test_a_tube_around_an_overcomplete_constraint():
    """Two outputs of rank one on the torus: only the tube around it is certified, and said to be."""
    points = Torus(1.0, 0.5).sample(500, generator=torch.Generator().manual_seed(0))
    manifold = ImplicitManifold(lambda x: torus(x) * torch.stack([torch.ones_like(x[:, 0]), 0.5 * x[:, 0]], 1), 2, 3)
    found = certify_level_set(manifold, points, resolution=120, fields=(2,))
    assert found.betti == {2: (1, 2, 1)}, found.to_text()
    assert not found.regular
    assert found.level >= found.spacing
    assert "the tube |F| <=" in found.to_text()
    assert found.mesh is None


@pytest.mark.parametrize("gap", [0.4, 0.2, 0.1, 0.05, 0.02, 0.005])
@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
def test_two_circles_are_undecided_or_two_at_every_resolution(gap, resolution):
    found = certify_level_set(ImplicitManifold(two_circles(gap), 1, 2), box=([-1.8, -1.0], [1.8, 1.0]), resolution=resolution)
    assert found.betti in (None, {2: (2, 2), 3: (2, 2)})
    if found.betti is None:
        assert "resolution" in found.reason
    if gap >= 0.2 and resolution == 128:
        assert found.betti is not None


def test_a_singular_set_is_not_certified():
    found = certify_level_set(ImplicitManifold(lemniscate, 1, 2), box=([-1.3, -0.8], [1.3, 0.8]), resolution=128)
    assert found.betti is None
    assert "full rank of the Jacobian is not shown" in found.reason
    assert "undecided: " in found.to_text()


def test_a_set_that_leaves_the_box_is_not_certified():
    found = certify_level_set(ImplicitManifold(sphere, 2, 3), box=([-1.6] * 3, [0.5, 1.6, 1.6]), resolution=32, second_derivative=2.0)
    assert found.betti is None
    assert found.leaks
    assert "reaches the faces of the box" in found.reason


def test_no_zero_in_the_box():
    found = certify_level_set(ImplicitManifold(sphere, 2, 3), box=([2.0] * 3, [3.0] * 3), resolution=16, second_derivative=2.0)
    assert found.betti == {2: (0, 0, 0), 3: (0, 0, 0)}


def test_a_field_that_is_not_finite_is_undecided():
    found = certify_level_set(ImplicitManifold(lambda x: x[:, :1].log() + x[:, 1:], 1, 2), box=([-1.0, -1.0], [3.0, 1.0]), resolution=16)
    assert found.betti is None


def test_refusals():
    manifold = ImplicitManifold(sphere, 2, 3)
    with pytest.raises(InvalidInputError, match="found neither"):
        certify_level_set(manifold)
    with pytest.raises(InvalidInputError, match="lower < upper"):
        certify_level_set(manifold, box=([1.0] * 3, [0.0] * 3))
    with pytest.raises(InvalidInputError, match="not finite"):
        certify_level_set(manifold, torch.full((20, 3), float("nan"), dtype=torch.float64))
    with pytest.raises(InvalidInputError, match="resolution"):
        certify_level_set(manifold, box=CUBE, resolution=2)
    with pytest.raises(InvalidInputError, match="second_derivative"):
        certify_level_set(manifold, box=CUBE, second_derivative=-1.0)
    with pytest.raises(InvalidInputError, match="level"):
        certify_level_set(ImplicitManifold(overcomplete_torus, 2, 3), box=CUBE)
    with pytest.raises(NotSupportedError, match="no constraint"):
        certify_level_set(KleinBottle(), box=CUBE)
    with pytest.raises(NotSupportedError, match="out of reach"):
        certify_level_set(ImplicitManifold(sphere, 4, 5), box=([-1.0] * 5, [1.0] * 5))
    with pytest.raises(BudgetExceeded, match="cubical complex"):
        certify_level_set(manifold, box=CUBE, resolution=500, budget=Budget(max_bytes=10**8))


def clifford(x):
    return torch.stack([x[:, 0] ** 2 + x[:, 1] ** 2 - 1, x[:, 2] ** 2 + x[:, 3] ** 2 - 1], 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "dim", "edge", "betti"), [(sphere, 3, 1.5, (1, 0, 0, 1)), (clifford, 2, 1.6, (1, 2, 1))], ids=["three-sphere", "Clifford torus"]
)
def test_four_dimensions_are_proved_within_a_budget(field, dim, edge, betti):
    """A million cells of side .1, of which 100,000 and more carry the tube; |D^2 F| <= 2 for both fields."""
    box = ([-edge] * 4, [edge] * 4)
    found = certify_level_set(ImplicitManifold(field, dim, 4), box=box, resolution=32, second_derivative=2.0, budget=Budget(max_bytes=2 * 10**9))
    assert found.betti == {2: betti, 3: betti}
    assert found.label == "proved"
    assert found.regular
    assert found.margin > 0


@pytest.mark.parametrize(("field", "dim"), [(sphere, 3), (clifford, 2)])
def test_four_dimensions_too_coarse_or_too_dear(field, dim):
    manifold, box = ImplicitManifold(field, dim, 4), ([-1.6] * 4, [1.6] * 4)
    found = certify_level_set(manifold, box=box, resolution=12, second_derivative=2.0)
    assert found.betti is None
    assert "raise resolution" in found.reason
    with pytest.raises(BudgetExceeded, match="cubical complex of 64 x 64 x 64 x 64 cells"):
        certify_level_set(manifold, box=box, resolution=64, second_derivative=2.0, budget=Budget(max_bytes=2 * 10**9))
