"""Strata: a circle is called a circle, a point a point; the inspection and the picture show them."""

import os
import pathlib

import numpy as np
import pytest
import torch
from torch import Tensor

from topogen import inspect, points
from topogen.manifolds import shapes
from topogen.manifolds.shapes import FigureEight
from topogen.report.figures import draw_strata
from topogen.topology.strata.strata import find_strata

CYCLOOCTANE = pathlib.Path(os.environ.get("TOPOGEN_DATA", "nowhere")) / "cyclooctane" / "pointsCycloOctane.mat"


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def sphere(n: int, centre: float, number: int) -> Tensor:
    return shapes.Sphere(2).sample(n, generator=seed(number)) + torch.tensor([centre, 0.0, 0.0], dtype=torch.float64)


def two_spheres(n: int = 2000) -> Tensor:
    """Unit spheres that meet in the circle x = 1/2 of radius sqrt(3)/2."""
    return torch.cat([sphere(n // 2, 0.0, 0), sphere(n // 2, 1.0, 1)])


def sphere_and_plane() -> Tensor:
    plane = 4 * torch.rand(1500, 2, generator=seed(3), dtype=torch.float64) - 2
    return torch.cat([sphere(1500, 0.0, 0), torch.cat([plane, torch.zeros(1500, 1, dtype=torch.float64)], 1)])


@pytest.mark.parametrize("cloud", [two_spheres(), two_spheres(4000), sphere_and_plane()], ids=["two spheres", "denser", "sphere and plane"])
def test_sheets_meet_in_a_circle(cloud):
    (stratum,) = find_strata(cloud, 2)
    assert (stratum.dim, stratum.betti) == (1, (1, 1))
    assert torch.equal(stratum.points, cloud[stratum.rows])
    assert 1.4 <= stratum.crowding < 2.4
    assert stratum.to_text().startswith("a circle")


def test_the_circle_is_where_the_spheres_meet():
    (stratum,) = find_strata(two_spheres(), 2)
    ring = stratum.points[:, 1:].norm(dim=1) - 0.75**0.5
    assert ((stratum.points[:, 0] - 0.5) ** 2 + ring**2).sqrt().max() < 2 * stratum.width


def test_two_circles_are_two():
    """A sphere with two parallel planes through it: a circle each."""
    flat = 3 * torch.rand(4000, 2, generator=seed(3), dtype=torch.float64) - 1.5
    height = torch.where(torch.arange(4000) % 2 == 0, 0.5, -0.5).double().unsqueeze(1)
    found = find_strata(torch.cat([sphere(3000, 0.0, 0), torch.cat([flat, height], 1)]), 2)
    assert [(s.dim, s.betti) for s in found] == [(1, (1, 1))] * 2
    assert sorted(round(float(s.points[:, 2].mean()), 1) for s in found) == [-0.5, 0.5]


def test_curves_cross_in_a_point():
    (stratum,) = find_strata(FigureEight().sample(1000, generator=seed(0)), 1)
    assert (stratum.dim, stratum.betti) == (0, (1,))


def test_the_inspection_says_so_and_no_closed_manifold_is_claimed():
    found = inspect(two_spheres())
    assert found.dim == 2 and found.orientable is None
    assert [s.betti for s in found.strata] == [(1, 1)]
    assert any("cross or branch" in line for line in found.advice)
    assert "a circle" in found.to_text()
    assert found.to_dict()["strata"][0]["dim"] == 1
    assert inspect(shapes.Torus().sample(1500, generator=seed(0))).strata == ()


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    cloud = two_spheres(1000)
    draw_strata(tmp_path / "space.png", cloud, find_strata(cloud, 2))
    eight = FigureEight().sample(1000, generator=seed(0))
    draw_strata(tmp_path / "plane.png", eight, find_strata(eight, 1))
    draw_strata(tmp_path / "none.png", eight, ())
    lifted = torch.cat([cloud, cloud[:, :2] ** 2], 1)
    draw_strata(tmp_path / "high.png", lifted, find_strata(lifted, 2))
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in ("space", "plane", "high"))


@pytest.mark.skipif(not CYCLOOCTANE.is_file(), reason="TOPOGEN_DATA names no folder with cyclooctane")
def test_the_two_circles_of_cyclooctane():
    """Its conformations are a sphere and a Klein bottle glued along two circles (Martin, Thompson, Coutsias, Watson 2010)."""
    from scipy.io import loadmat

    cloud, _ = points.clean(np.ascontiguousarray(loadmat(CYCLOOCTANE)["pointsCycloOctane"]))
    found = find_strata(cloud, 2)
    assert [(s.dim, s.betti) for s in found] == [(1, (1, 1))] * 2
