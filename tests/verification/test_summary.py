"""What a verdict says of itself: the number that decides, what would bring it about, what is a theorem about the points, what is not shown."""

import pytest
import torch

from topogen.manifolds.shapes import Circle, FigureEight, Sphere, Torus
from topogen.topology.inference.expectations import parse_expectation
from topogen.topology.inference.homology import homology
from topogen.verification import Verdict, verify
from topogen.verification.evidence.betti_evidence import BettiEvidence, compare_evidence, evidence_of_expectation
from topogen.verification.summary import not_shown, summary


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sphere(n, seed=0):
    return Sphere(2).sample(n, generator(seed))


def test_the_number_is_that_of_the_least_demanding_rule():
    found = homology(sphere(150), dim=2, closed=True, generator=generator())
    assert found.betti[2] is None
    assert found.needs < found.finest == found.scale
    assert all(float(part.split(",")[0]) <= found.needs * 1.01 for part in found.reason.split("needs eps < ")[1:])


def test_about_as_many_points_as_are_asked_for_decide():
    """With a fifth more, in some four of five draws: the largest gap between so few points is a matter of chance. Fewer than 5 of 10 have a chance of .3 %."""
    decided = 0
    for seed in range(10):
        few = verify(sphere(150, seed), expect="sphere", dim=2, closed=True, seed=seed)
        assert few.verdict is Verdict.INCONCLUSIVE
        wanted = int(few.summary.split("try ")[1].split(" points")[0].replace(",", ""))
        assert 150 < wanted < 600
        decided += verify(sphere(int(1.2 * wanted), seed), expect="sphere", dim=2, closed=True, seed=seed).verdict is Verdict.CONFIRMED
    assert decided >= 5


def test_as_many_points_as_are_asked_for_refute():
    few = verify(sphere(1000), expect="torus")
    assert few.verdict is Verdict.INCONCLUSIVE
    wanted = int(few.summary.split("try ")[1].split(" points")[0].replace(",", ""))
    assert verify(sphere(2 * wanted), expect="torus", density_ratio=1.1).verdict is Verdict.REFUTED


def test_points_that_are_sparse_somewhere_are_asked_for_there():
    """A sphere with a cap that has a fiftieth of the density of the rest."""
    points = sphere(6000)
    keep = (points[:, 2] < 0.3) | (torch.rand(6000, generator=generator(1)) < 0.02)
    found = verify(points[keep], expect="sphere", dim=2)
    assert found.verdict is not Verdict.REFUTED
    assert found.verdict is not Verdict.CONFIRMED or "uneven" in found.to_json()
    if found.verdict is Verdict.INCONCLUSIVE:
        assert "sparse" in found.summary, "the cause is named, with or without a number"


def test_a_boundary_where_none_is_expected_is_told():
    points = sphere(6000)
    found = verify(points[points[:, 2] < 0.3], expect="sphere")
    assert found.verdict is not Verdict.CONFIRMED
    assert any("a boundary was found, and the expected shape has none" in line for line in found.not_shown)


def test_no_number_of_points_is_asked_for_in_high_dimensions():
    found = verify(Sphere(7).sample(1000, generator()), expect="sphere(7)")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "no number of points will do in dimension" in found.summary


def test_where_sheets_cross_nothing_is_refuted():
    found = verify(FigureEight().sample(2000, generator()), expect="circle")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "heuristic evidence against a circle" in found.summary
    assert "would have to be known otherwise: it is assumed that thickening the set changes no homology" in found.summary


def test_a_theorem_about_the_points_stands_beside():
    found = verify(Circle().sample(2000, generator()), expect="circle")
    claim = next(claim for claim in found.claims if "in the balls round all points exactly" in claim.text)
    assert claim.label == "proved-for-sample"
    assert claim.holds
    assert not claim.decides
    assert "(1,1) over Z/2" in claim.text


def test_a_known_scale_is_taken():
    t = torch.arange(300, dtype=torch.float64) * (2 * torch.pi / 300)
    points = torch.stack([t.cos(), t.sin()], 1)
    found = verify(points, expect="circle", scale=0.02)
    assert (found.verdict, found.label) == (Verdict.CONFIRMED, "proved-for-sample")
    assert found.claims[0].evidence["scale"] == pytest.approx(0.02, abs=1e-9)
    assert verify(points, expect="circle", scale=0.5).verdict is Verdict.INCONCLUSIVE


def test_loops_that_noise_does_not_explain_are_shown_where_nothing_is_decided():
    """A circle with noise of .15 per coordinate in R^6, at a stated scale: undecided, and one loop is there; of a Gaussian in R^6 there is none."""
    circle = torch.nn.functional.pad(Circle().sample(2000, generator()), (0, 4))
    noise = torch.randn(2000, 6, generator=generator(1), dtype=torch.float64)
    found = verify(circle + 0.15 * noise, expect="circle", scale=1.0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "; shown: subject: 1 loop among 400 of the points that noise does not explain" in found.summary
    claim = next(claim for claim in found.claims if "noise does not explain" in claim.text)
    assert claim.label == "statistical"
    assert not claim.decides
    assert "shown" not in verify(noise, expect="circle").summary


def test_noise_shows_no_loops():
    """Family-wise 5 %: at most 3 of 20 Gaussian clouds show one (a right test fails this in 1.6 %)."""
    clouds = (torch.randn(500, 5, generator=generator(seed), dtype=torch.float64) for seed in range(20))
    assert sum("shown" in verify(cloud, expect="circle", seed=seed).summary for seed, cloud in enumerate(clouds)) <= 3


def test_decided_clouds_are_not_tested_for_loops():
    assert not any("noise does not explain" in claim.text for claim in verify(Circle().sample(2000, generator()), expect="circle").claims)


def lens_space(fields):
    """L(5,1), whose H_1 is Z/5."""
    return BettiEvidence("subject", {p: (1, 1, 1, 1) if p == 5 else (1, 0, 0, 1) for p in fields}, "proved", True, orientable=True, dim=3, closed=True)


def test_torsion_prime_to_the_fields_is_named():
    """A lens space passes for a three-sphere over Z/2 and Z/3: then only the Betti numbers are said to agree, and which fields would tell."""
    expected, side = parse_expectation((1, 0, 0, 1)), lens_space((2, 3))
    assert all(claim.holds for claim in compare_evidence(side, evidence_of_expectation(expected, (2, 3)), (2, 3)))
    lines = " ".join(not_shown(side, None, expected, (), (2, 3)))
    assert "torsion prime to Z/2, Z/3" in lines and "L(5,1)" in lines and "fields=(2, 3, 5, 7)" in lines
    said = summary(Verdict.CONFIRMED, side, None, expected, ())
    assert "the subject has the Betti numbers over Z/2, Z/3 of" in said and "homology" not in said
    assert any(claim.holds is False for claim in compare_evidence(lens_space((5,)), evidence_of_expectation(expected, (5,)), (5,)))
    assert "torsion" not in " ".join(verify(Torus(), expect="torus").not_shown)
