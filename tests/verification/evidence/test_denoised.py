"""The second look at noisy clouds: what it decides, what it leaves alone, and that it makes no topology of its own."""

import math
from dataclasses import replace

import pytest
import torch

from topogen.errors import BudgetExceeded
from topogen.manifolds import shapes
from topogen.manifolds.shapes import Circle
from topogen.topology import homology
from topogen.verification import Verdict, verify
from topogen.verification.evidence import denoised as module
from topogen.verification.evidence.betti_evidence import BettiEvidence, compare_evidence
from topogen.verification.evidence.clouds import cloud_evidence
from topogen.verification.evidence.denoised import denoised, second_look


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(shape, n, share, seed=0):
    source = generator(seed)
    x = shape.sample(n, generator=source)
    return x + share * 2 * float((x - x.mean(0)).norm(dim=1).max()) * torch.randn(x.shape, generator=source, dtype=x.dtype)


def gaussian(n, dim, seed=0):
    return torch.randn(n, dim, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "n"), [("trefoil_knot", 2000), ("two_spheres", 6000)])
def test_noise_wider_than_the_rules_allow_is_taken_off(name, n):
    found = verify(noisy(shapes.get(name), n, 0.01), expect=name)
    assert found.verdict is Verdict.CONFIRMED
    assert found.label == "heuristic"
    assert "moved onto quadratic sheets" in found.claims[0].assumption
    assert any("as they are the points do not decide" in note for note in found.claims[0].evidence["notes"])


@pytest.mark.parametrize("seed", range(3))
def test_a_circle_under_noise_in_six_dimensions(seed):
    circle = torch.nn.functional.pad(Circle().sample(2000, generator(seed)), (0, 4))
    found = verify(circle + 0.15 * gaussian(2000, 6, seed + 100), expect="circle", seed=seed)
    assert (found.verdict, found.label) == (Verdict.CONFIRMED, "heuristic")


def test_moved_points_are_nearer_to_the_set():
    cloud = noisy(Circle(), 2000, 0.02)
    found = denoised(cloud, 1, generator=generator())
    assert found.noise == pytest.approx(0.04, rel=0.15)
    assert float((found.points.norm(dim=1) - 1).abs().mean()) < 0.3 * float((cloud.norm(dim=1) - 1).abs().mean())
    assert found.moved == pytest.approx(0.04 * 0.6745, rel=0.2), "the median of |N(0, sigma)| is .6745 sigma"


CLEAN = Circle().sample(1000, generator=generator())


@pytest.mark.parametrize(("cloud", "dim"), [(CLEAN, 1), (gaussian(500, 2), 2), (gaussian(500, 2), 0), (gaussian(500, 6), 4)])
def test_nothing_is_moved_without_noise_or_normal_directions_or_in_high_dimension(cloud, dim):
    assert denoised(cloud, dim, generator=generator()) is None


def test_of_many_points_some_are_moved_onto_sheets_of_all(monkeypatch):
    cloud = noisy(Circle(), 1000, 0.02)
    all_of_them = denoised(cloud, 1, generator=generator())
    monkeypatch.setattr(module, "MOST_NEIGHBOURS", 500 * all_of_them.k)
    assert torch.allclose(denoised(cloud, 1, generator=generator()).points, all_of_them.points[::2], atol=1e-12)


@pytest.mark.parametrize("expect", ["circle", "hopf_link"])
def test_a_blob_told_to_be_a_curve_is_no_circle(expect):
    source = generator(1)
    disc = 2 * torch.rand(6000, 2, generator=source, dtype=torch.float64) - 1
    for cloud in (gaussian(3000, 3), disc[disc.norm(dim=1) < 1], gaussian(3000, 8)):
        assert verify(cloud, expect=expect, dim=1).verdict is not Verdict.CONFIRMED


def test_an_arc_is_not_closed_by_it():
    angle = (2 * math.pi - 0.8) * torch.rand(2000, generator=generator(2), dtype=torch.float64)
    arc = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * gaussian(2000, 2, 3)
    assert verify(arc, expect="circle").verdict is not Verdict.CONFIRMED


def test_a_second_look_that_contradicts_or_decides_nothing_is_dropped():
    cloud = noisy(Circle(), 1000, 0.03)
    moved = denoised(cloud, 1, generator=generator())
    good = homology(moved.points, dim=1, closed=True, generator=generator())
    open_one = replace(good, decided={2: (1, None), 3: (1, None)}, reason="too coarse")
    assert second_look(open_one, moved, lambda _: good).decided == good.decided
    other = replace(good, decided={2: (2, None), 3: (2, None)}, reason="too coarse")
    for first, again in ((other, good), (open_one, open_one)):
        left = second_look(first, moved, lambda _, again=again: again)
        assert left.decided == first.decided
    assert "which they contradict as they are" in second_look(other, moved, lambda _: good).notes[-1]
    assert "decide no more" in second_look(open_one, moved, lambda _: open_one).notes[-1]


def test_a_budget_that_the_second_look_exceeds_leaves_the_first():
    def refuse(_):
        raise BudgetExceeded("too much")

    cloud = noisy(Circle(), 1000, 0.03)
    moved = denoised(cloud, 1, generator=generator())
    first = replace(homology(moved.points, dim=1, closed=True, generator=generator()), decided={2: (1, None)}, reason="too coarse")
    assert second_look(first, moved, refuse).decided == {2: (1, None)}


def test_what_the_points_contradict_as_they_are_stays_refuted():
    """That there are two pieces is statistical, that each has a loop heuristic."""
    first = BettiEvidence("subject", {2: (2, None)}, "statistical", True)
    second = BettiEvidence("subject", {2: (2, 2)}, "heuristic", True, before=first)
    one, two = (BettiEvidence("expected", {2: numbers}, "proved", True) for numbers in ((1, 1), (2, 2)))
    assert [(claim.holds, claim.label) for claim in compare_evidence(second, one, (2,))] == [(False, "statistical")]
    assert [(claim.holds, claim.label) for claim in compare_evidence(one, second, (2,))] == [(False, "statistical")]
    assert [(claim.holds, claim.label) for claim in compare_evidence(second, two, (2,))] == [(True, "heuristic")]
    assert [(claim.holds, claim.label) for claim in compare_evidence(second, replace(two, betti={2: (2, 3)}), (2,))] == [(False, "heuristic")]


def test_the_side_as_it_was_is_kept_with_a_second_look():
    side = cloud_evidence("subject", noisy(shapes.get("trefoil_knot"), 2000, 0.01), (2,), generator=generator())
    assert side.decided
    assert side.before.betti == {2: (1, None)}
    assert (side.label, side.before.label) == ("heuristic", "heuristic")
    assert side.evidence["needs"] == side.before.evidence["needs"]


def test_what_was_smoothed_over_is_not_shown():
    found = verify(noisy(shapes.get("trefoil_knot"), 2000, 0.01), expect="trefoil")
    evidence = found.claims[0].evidence
    assert evidence["smoothed"] > 2 * evidence["scale"]
    assert f"smaller than some {evidence['smoothed']:.3g}" in found.not_shown[0]


def test_a_stated_scale_is_not_replaced():
    cloud = noisy(shapes.get("trefoil_knot"), 2000, 0.01)
    assert verify(cloud, expect="trefoil", scale=0.5).verdict is Verdict.INCONCLUSIVE
