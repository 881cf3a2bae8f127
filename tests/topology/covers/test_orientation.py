"""Orientability from signs of transitions: the shapes' truth, whatever the frames' signs, with a cycle that can be checked."""

import json
import math

import pytest
import torch
from covers import cover

from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import get
from topogen.topology.covers.odd_cycles import odd_cycle
from topogen.topology.covers.orientation import sign_cocycle


def orientation_of(c, determinants=None):
    return sign_cocycle(c.members, c.determinants if determinants is None else determinants, c.points, c.dim)


def is_odd(witness, overlaps):
    """Whether the witness closes up through overlaps whose signs can multiply to -1."""
    signs = {}
    for o in overlaps:
        signs.setdefault((o.a, o.b), set()).add(o.sign)
    possible = {1}
    for a, b in zip(witness, (*witness[1:], witness[0]), strict=True):
        possible = {p * sign for p in possible for sign in signs[min(a, b), max(a, b)]}
    return -1 in possible


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [1.15, 1.35])
@pytest.mark.parametrize(
    ("name", "charts"),
    [
        ("circle", 6),
        ("sphere", 30),
        ("torus", 80),
        ("klein_bottle", 60),
        ("klein_bottle", 120),
        ("projective_plane", 30),
        ("projective_plane", 60),
        ("moebius_band", 40),
    ],
)
def test_shapes(name, charts, factor, seed):
    found = orientation_of(cover(name, charts, factor, seed))
    assert found.orientable == get(name).orientable, found.to_text()
    assert found.ambiguous == ()
    assert bool(found.witness) != found.orientable
    assert found.orientable or is_odd(found.witness, found.overlaps)
    assert found.smallest_determinant > 0


@pytest.mark.parametrize(("name", "charts"), [("genus_two", 120), ("special_orthogonal", 60)])
def test_surfaces_of_genus_two_and_rotations(name, charts):
    assert orientation_of(cover(name, charts, 1.25)).orientable


@pytest.mark.parametrize("name", ["torus", "klein_bottle"])
def test_signs_of_frames_and_of_bases_at_samples_do_not_matter(name):
    c = cover(name, 80, 1.25)
    g = torch.Generator().manual_seed(0)
    rows, columns = torch.randint(2, (len(c.points), 1), generator=g) * 2 - 1, torch.randint(2, (1, 80), generator=g) * 2 - 1
    first, second = orientation_of(c), orientation_of(c, c.determinants * rows * columns)
    assert (first.orientable, len(first.witness)) == (second.orientable, len(second.witness))
    flips = columns[0].tolist()
    assert [o.sign * flips[o.a] * flips[o.b] for o in first.overlaps] == [o.sign for o in second.overlaps]


def band(twist, n=4000):
    """A band cut into two charts that meet twice, with `twist` -1 for the Moebius band: members, determinants, points."""
    u, v = torch.rand(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angle, height = u * 2 * math.pi, (v - 0.5) * 0.4
    half = angle / 2 if twist < 0 else torch.zeros_like(angle)
    radius = 1 + height * half.cos()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), height * half.sin()], 1)
    members = torch.stack([(u > 0.05) & (u < 0.6), (u < 0.1) | (u > 0.5)], 1)
    # the parameters give a basis at every sample; the second chart continues past u = 1, where the twist turns its frame over
    determinants = torch.stack([torch.ones(n), torch.where(u < 0.3, float(twist), 1.0)], 1).double()
    return members, determinants, points


def test_two_charts_of_a_moebius_band_disagree_on_the_parts_of_their_overlap():
    found = sign_cocycle(*band(-1), 2)
    assert found.orientable is False
    assert found.witness == (0, 1)
    assert sorted(o.sign for o in found.overlaps) == [-1, 1]
    assert "odd cycle of charts 0 - 1 - 0" in found.to_text()
    assert sign_cocycle(*band(1), 2).orientable


def test_a_swapped_sign_on_one_part_of_an_overlap_is_found():
    c = cover("torus", 80, 1.25)
    overlap = max(orientation_of(c).overlaps, key=lambda o: o.samples)
    both = c.members[:, overlap.a] & c.members[:, overlap.b]
    members, determinants = c.members.clone(), c.determinants.clone()
    members[both] = False
    members[both, overlap.a] = members[both, overlap.b] = True
    determinants[both, overlap.b] *= -1
    found = sign_cocycle(members, determinants, c.points, 2)
    assert found.orientable is False
    assert {overlap.a, overlap.b} <= set(found.witness)


def test_an_overlap_of_mixed_sign_is_ambiguous():
    members, determinants, points = band(1)
    left = members.all(1) & (points[:, 1] < 0)
    assert left.any()
    mixed = determinants.clone()
    mixed[left & (points[:, 0] < points[left, 0].median()), 0] *= -1
    found = sign_cocycle(members, mixed, points, 2)
    assert found.orientable is None
    assert found.ambiguous == ((0, 1),)
    assert "mixed sign" in found.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("charts", [8, 12, 20])
def test_a_cover_too_coarse_is_undecided_or_right_but_never_wrong(charts, seed):
    assert orientation_of(cover("torus", charts, 1.25, seed)).orientable is not False
    assert orientation_of(cover("klein_bottle", charts, 1.25, seed)).orientable is not True


def test_coarse_charts_are_cut_to_their_cores_and_say_so():
    found = orientation_of(cover("torus", 12, 1.15))
    assert found.orientable is None
    assert len(found.folded) == 12
    assert found.uncovered > 0
    assert "folded parts" in found.reason
    assert "cut to their cores" in found.to_text()


def test_pieces_have_their_own_verdicts():
    torus, bottle = cover("flat_torus", 60, 1.25), cover("klein_bottle", 60, 1.25)
    members = torch.block_diag(torus.members.float(), bottle.members.float()) > 0
    determinants = torch.block_diag(torus.determinants, bottle.determinants)
    found = sign_cocycle(members, determinants, torch.cat([torus.points, bottle.points + 9]), 2)
    assert found.orientable is False
    assert dict(found.pieces) == {tuple(range(60)): True, tuple(range(60, 120)): False}
    assert min(found.witness) >= 60
    document = json.loads(json.dumps(found.to_dict()))
    assert [piece["orientable"] for piece in document["pieces"]] == [True, False]
    assert document["overlaps"][0].keys() == {"a", "b", "sign", "samples", "margin"}
    assert orientation_of(cover("two_spheres", 40, 1.25)).orientable


def test_charts_without_overlap_decide_nothing():
    members, determinants, points = band(1)
    members = torch.stack([points[:, 0] > 0, points[:, 0] <= 0], 1)
    found = sign_cocycle(members, determinants, points, 2)
    assert found.orientable is None
    assert found.overlaps == ()
    assert "no common chart" in found.reason


def test_odd_cycles_are_shortest():
    ring = [(a, (a + 1) % 5, 1) for a in range(4)] + [(0, 4, -1)]
    assert sorted(odd_cycle(ring)) == [0, 1, 2, 3, 4]
    assert sorted(odd_cycle([*ring, (1, 3, -1)])) == [1, 2, 3]
    assert odd_cycle([*ring, (2, 3, -1)]) == (2, 3)
    assert odd_cycle([(0, 1, -1), (1, 2, -1), (0, 2, 1), (5, 6, -1)]) == ()
    assert odd_cycle([]) == ()


def test_bad_input_is_named():
    members, determinants, points = band(1)
    with pytest.raises(InvalidInputError, match="determinants: expected a floating tensor of shape .4000, 2."):
        sign_cocycle(members, determinants[:, :1], points, 2)
    with pytest.raises(InvalidInputError, match="determinants: expected a floating tensor"):
        sign_cocycle(members, determinants.long(), points, 2)
    with pytest.raises(InvalidInputError, match="are not finite inside their chart"):
        sign_cocycle(members, determinants * math.nan, points, 2)
    with pytest.raises(InvalidInputError, match="members: expected a boolean tensor"):
        sign_cocycle(determinants, determinants, points, 2)
    with pytest.raises(InvalidInputError, match="points: expected one row"):
        sign_cocycle(members, determinants, points[1:], 2)
    with pytest.raises(InvalidInputError, match="lie in no chart"):
        sign_cocycle(torch.zeros_like(members), determinants, points, 2)
