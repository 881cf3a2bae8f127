"""Sets that are no manifolds: claims where they are none, and a verdict for each smooth sheet."""

import json
import os
import pathlib

import numpy as np
import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import Circle, FigureEight, Sphere, Torus
from topogen.verification import Verdict, verify, verify_sheets

CYCLOOCTANE = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere")) / "cyclooctane" / "pointsCycloOctane.mat"


def seed(number):
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def spheres():
    return two_spheres(2000)


def two_spheres(n):
    shift = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return torch.cat([Sphere(2).sample(n, generator=seed(0)), Sphere(2).sample(n, generator=seed(1)) + shift])


def singular(found):
    return [claim for claim in found.claims if "no manifold at" in claim.text]


def test_a_figure_eight_has_its_homology_and_is_no_manifold_at_one_point():
    """Homology is right or, in one of some forty draws, open; the crossing, a dozen points of 2000, is found in most and never anywhere else."""
    told = confirmed = 0
    for number in range(10):
        found = verify(FigureEight().sample(2000, generator=seed(number)), "figure eight", seed=number)
        assert found.verdict is not Verdict.REFUTED
        assert found.verdict is Verdict.INCONCLUSIVE or found.subject_betti == {2: (1, 2), 3: (1, 2)}
        confirmed += found.verdict is Verdict.CONFIRMED
        json.loads(found.to_json())
        for claim in singular(found):
            assert claim.holds is True
            assert not claim.decides
            assert "Betti numbers (4), in a manifold (2)" in claim.text
            assert max(abs(x) for x in claim.evidence["place"]) < 3 * claim.evidence["width"]
            assert "reach" not in found.claims[0].assumption
            told += 1
    assert told >= 7
    assert confirmed >= 8


def test_manifolds_have_no_such_claim():
    assert not singular(verify(Torus().sample(4000, generator=seed(0)), expect="torus"))
    assert not singular(verify(Sphere(2).sample(2000, generator=seed(0)), expect="sphere"))


def test_two_spheres_that_meet_in_a_circle(spheres):
    found = verify_sheets(spheres, ("sphere", "sphere"))
    assert found.verdict is Verdict.CONFIRMED, found.to_text()
    assert found.exit_code == 0
    assert [sheet.betti for sheet in found.sheets] == [{2: (1, 0, 1), 3: (1, 0, 1)}] * 2
    assert "links there have Betti numbers (1,3), in a manifold (1,1)" in singular(found)[0].text
    document = json.loads(found.to_json())
    assert document["schema_version"] == 1
    assert [sheet["verdict"] for sheet in document["sheets"]] == ["CONFIRMED"] * 2


@pytest.mark.parametrize("expect", [("sphere",), ("sphere", "torus"), ("sphere", "sphere", "sphere"), ("klein_bottle", "torus")])
def test_other_expectations_are_not_confirmed(spheres, expect):
    """The number of sheets is heuristic evidence, their homology is not: only what contradicts the latter is refuted."""
    wanted = Verdict.REFUTED if "torus" in expect else Verdict.INCONCLUSIVE
    assert verify_sheets(two_spheres(5000), expect, density_ratio=2).verdict is wanted
    assert verify_sheets(spheres, expect).verdict is Verdict.INCONCLUSIVE, "estimated scales refute nothing"


def test_a_manifold_is_one_sheet():
    found = verify_sheets(Sphere(2).sample(2500, generator=seed(0)), ("sphere",))
    assert found.verdict is Verdict.CONFIRMED
    assert len(found.sheets) == 1
    assert not singular(found)


@pytest.mark.parametrize("expect", ["sphere", (), ("sphere",) * 7])
def test_unusable_expectations(expect):
    with pytest.raises(InvalidInputError, match="one for each sheet"):
        verify_sheets(torch.zeros(20, 3), expect)


@pytest.mark.slow
@pytest.mark.skipif(not CYCLOOCTANE.is_file(), reason="TOPOGEN_DATA names no folder with cyclooctane")
def test_cyclooctane_is_a_sphere_and_another_sheet_that_meet_in_two_circles():
    from scipy.io import loadmat

    found = verify_sheets(np.ascontiguousarray(loadmat(CYCLOOCTANE)["pointsCycloOctane"]), ("sphere", "klein_bottle"))
    assert found.verdict is not Verdict.REFUTED
    assert found.claims[0].holds
    assert found.claims[0].evidence["agreement"] == 1
    assert [claim.holds for claim in singular(found)] == [True, True]
    assert all("a circle" in claim.text and "(1,3)" in claim.text for claim in singular(found))
    sphere = next(sheet for sheet in found.sheets if sheet.expected == "sphere")
    assert sphere.verdict is Verdict.CONFIRMED
    assert 2100 < len(sphere.rows) < 2300


def test_a_sphere_and_a_circle_around_it_are_judged_in_their_own_dimensions():
    ring = 2 * Circle().sample(1000, generator=seed(1))
    cloud = torch.cat([Sphere(2).sample(3000, generator=seed(0)), torch.cat([ring, torch.zeros(1000, 1, dtype=torch.float64)], 1)])
    found = verify_sheets(cloud, ("circle", "sphere"))
    assert found.verdict is Verdict.CONFIRMED, found.to_text()
    assert [sheet.expected for sheet in found.sheets] == ["sphere", "circle"]
    assert "of dimension 2, 1" in found.claims[0].text
    assert verify_sheets(cloud, ("circle", "circle"), density_ratio=1.2).verdict is Verdict.REFUTED
