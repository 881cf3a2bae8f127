"""Clouds of the kinds that people bring: uneven, with strays, no independent draw. Right or undecided, and the true reason is named.

Inputs are made here; the verdicts may depend on no seed.
"""

import math

import numpy as np
import pytest
import torch

import topogen
from topogen.manifolds.shapes import Circle, Torus
from topogen.verification import Verdict, verify


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def lorenz(n, step, *, euler=True, start=1.0):
    def slope(x):
        return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    x, rows = np.full(3, start), []
    for number in range(n + 1000):
        first = slope(x)
        if euler:
            x = x + step * first
        else:
            second = slope(x + step / 2 * first)
            third = slope(x + step / 2 * second)
            x = x + step / 6 * (first + 2 * second + 2 * third + slope(x + step * third))
        rows += [x] if number >= 1000 else []
    return torch.from_numpy(np.array(rows))


def two_circles(dense, sparse, radius, seed):
    """A small circle of many points beside a large one of few, as far away as that is wide."""
    small = radius * Circle().sample(dense, generator(seed))
    return torch.cat([small, 1.5 * Circle().sample(sparse, generator(seed + 100)) + torch.tensor([4.0, 0.0], dtype=torch.float64)])


def lattice(rows, columns, tube=0.4):
    u, v = torch.meshgrid(torch.arange(rows) * (2 * math.pi / rows), torch.arange(columns) * (2 * math.pi / columns), indexing="ij")
    u, v = u.reshape(-1).double(), v.reshape(-1).double()
    return torch.stack([(1 + tube * v.cos()) * u.cos(), (1 + tube * v.cos()) * u.sin(), tube * v.sin()], 1)


@pytest.mark.parametrize(("n", "step", "euler"), [(8000, 0.01, True), (8000, 0.01, False), (4000, 0.01, True), (8000, 0.005, True)])
def test_a_strange_attractor_is_no_disc(n, step, euler):
    """The holes of its lobes end below the scale of its sparse rim: an estimated scale that is too coarse for them must not overlook them."""
    for seed in range(2):
        found = verify(lorenz(n, step, euler=euler, start=1.0 + seed), expect=(1, 0, 0), seed=seed)
        assert found.verdict is not Verdict.CONFIRMED, found.to_text()


def test_what_lies_below_an_estimated_scale_is_named():
    found = verify(lorenz(8000, 0.01), expect=(1, 0, 0))
    assert "uneven density: a class of H_1 lives from" in found.summary
    assert "points instead of" not in found.summary


@pytest.mark.parametrize(("dense", "sparse", "radius"), [(2000, 120, 0.05), (2000, 300, 0.05), (1000, 250, 0.02)])
def test_pieces_far_apart_have_scales_of_their_own(dense, sparse, radius):
    decided = 0
    for seed in range(4):
        found = verify(two_circles(dense, sparse, radius, seed), expect=(2, 2), seed=seed)
        assert found.verdict is Verdict.CONFIRMED or "uneven density" in found.summary, found.to_text()
        assert found.label in (None, "heuristic")
        assert "points instead of" not in found.summary
        decided += found.verdict is Verdict.CONFIRMED
    assert decided >= 2


def test_pieces_are_not_confirmed_as_less():
    for wrong in ((2, 1), (1, 1), (2, 0)):
        assert verify(two_circles(2000, 300, 0.05, 0), expect=wrong).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("count", [1, 3])
def test_stray_rows_are_named_and_the_rest_is_judged(count):
    away = torch.tensor([[7.0, 0.0, 0.0], [0.0, -9.0, 0.0], [0.0, 0.0, 20.0]], dtype=torch.float64)[:count]
    cloud = torch.cat([Torus().sample(10_000, generator()), away])[torch.randperm(10_000 + count, generator=generator(1))]
    rows = [i for i in range(len(cloud)) if float(cloud[i].norm()) > 5]
    found = verify(cloud, expect="torus")
    assert (found.verdict, found.label) == (Verdict.CONFIRMED, "heuristic"), found.to_text()
    claim = next(claim for claim in found.claims if "far from all others" in claim.text)
    assert claim.evidence["stray_rows"] == rows and str(rows[0]) in claim.text
    assert not any("in the balls round all points" in c.text and "without stray rows" not in c.text for c in found.claims)
    assert verify(cloud, expect="sphere", density_ratio=1.1).verdict is Verdict.INCONCLUSIVE, "heuristic evidence refutes nothing"


def test_inspect_and_fit_name_stray_rows():
    cloud = torch.cat([Circle().sample(600, generator()), torch.tensor([[0.0, 0.0]] * 1 + [[30.0, 0.0]], dtype=torch.float64)[1:]])
    inspection = topogen.inspect(cloud)
    assert inspection.strays == (600,) and inspection.n == 600
    assert any("row 600" in line for line in inspection.advice) and inspection.to_dict()["strays"] == [600]
    model = topogen.fit(cloud, constraint="local", quiet=True)
    assert any("row 600" in note for note in model.notes)
    assert float(model.anchors.norm(dim=1).max()) < 2


@pytest.mark.parametrize("cloud", [lattice(12, 10), lattice(24, 10), lorenz(3000, 0.01)[::2]], ids=["lattice", "finer lattice", "trajectory"])
def test_no_p_values_and_no_confidence_where_nothing_was_drawn(cloud):
    found = verify(cloud, expect="torus", density_ratio=1.5)
    assert any("no independent draw" in claim.text for claim in found.claims)
    assert not any("noise does not explain" in claim.text for claim in found.claims) and "p " not in found.summary.split("shown")[-1][:3]
    assert {claim.label for claim in found.claims if claim.decides} == {"heuristic"}


def test_independent_points_are_not_called_dependent():
    for seed in range(5):
        found = verify(Torus().sample(500, generator(seed)), expect="torus", seed=seed)
        assert not any("no independent draw" in claim.text for claim in found.claims)


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_data_that_fill_their_hull_confirm_no_model(shift):
    """Rows whose number is a coordinate, as a table with an index column has them: a line, in which there is no manifold to learn."""
    angle = 2 * math.pi * torch.rand(400, generator=generator(), dtype=torch.float64)
    number = torch.arange(400, dtype=torch.float64) + shift
    data = torch.stack([number, angle.cos(), angle.sin(), 0.3 * (2 * angle).sin()], 1)
    inspection = topogen.inspect(data)
    assert any("no lower-dimensional manifold" in line for line in inspection.advice)
    model = topogen.fit(data, inspection=inspection, constraint="local", quiet=True)
    found = verify(model, against=data, fill=True, inspection=inspection, n_samples=2000)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "there is no lower-dimensional manifold to learn" in found.summary
