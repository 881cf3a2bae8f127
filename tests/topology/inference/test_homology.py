"""Betti numbers with evidence: right where samples are dense, undecided (never wrong) where they are not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.manifolds import shapes
from topogen.topology.inference.homology import homology
from topogen.topology.inference.rules import Rule, plateau, spanning
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.persistence import Diagram, jung


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sphere(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, dim + 1, dtype=torch.float64, generator=generator(seed)), dim=1)


def circle(n: int, seed: int = 0) -> Tensor:
    return sphere(n, 1, seed)


def torus(n: int, seed: int = 0, tube: float = 0.4) -> Tensor:
    u, v = torch.rand(2, 3 * n, dtype=torch.float64, generator=generator(seed)) * 2 * math.pi
    keep = torch.rand(3 * n, dtype=torch.float64, generator=generator(seed + 1)) * (1 + tube) < 1 + tube * v.cos()
    u, v = u[keep][:n], v[keep][:n]
    w = 1 + tube * v.cos()
    return torch.stack([w * u.cos(), w * u.sin(), tube * v.sin()], dim=1)


def projective_plane(n: int, seed: int = 0) -> Tensor:
    a, b, c = sphere(n, 2, seed).T
    return torch.stack([a * b, a * c, b * b - c * c, 2 * b * c], dim=1)


def rotations(n: int, seed: int = 0) -> Tensor:
    a, b, c, d = sphere(n, 3, seed).T
    rows = [1 - 2 * (c * c + d * d), 2 * (b * c - a * d), 2 * (b * d + a * c)]
    rows += [2 * (b * c + a * d), 1 - 2 * (b * b + d * d), 2 * (c * d - a * b)]
    rows += [2 * (b * d - a * c), 2 * (c * d + a * b), 1 - 2 * (b * b + c * c)]
    return torch.stack(rows, dim=1)


@pytest.mark.parametrize(
    ("cloud", "dim", "truth", "label"),
    [
        (circle(2000), 1, {2: (1, 1), 3: (1, 1)}, "statistical"),
        (torch.cat([circle(1000), circle(1000, 1) + 5]), 1, {2: (2, 2), 3: (2, 2)}, "statistical"),
        (sphere(10_000, 2), 2, {2: (1, 0, 1), 3: (1, 0, 1)}, "statistical"),
        (torus(40_000), 2, {2: (1, 2, 1), 3: (1, 2, 1)}, "statistical"),
        (torus(10_000), 2, {2: (1, 2, 1), 3: (1, 2, 1)}, "heuristic"),
        (shapes.get("projective_plane").sample(12_000, generator=generator()), 2, {2: (1, 1, 1), 3: (1, 0, 0)}, "statistical"),
        (sphere(40_000, 3), 3, {2: (1, 0, 0, 1), 3: (1, 0, 0, 1)}, "heuristic"),
    ],
    ids=["circle", "two circles", "sphere", "torus", "coarse torus", "projective plane", "three-sphere"],
)
def test_shapes(cloud: Tensor, dim: int, truth: dict[int, tuple[int, ...]], label: str) -> None:
    found = homology(cloud, dim=dim, closed=True, density_ratio=1.1, generator=generator())
    assert found.betti == truth, found.to_text()
    assert (found.label, found.scale_label) == (label, "statistical")
    assert found.reason == ""
    estimated = homology(cloud, dim=dim, closed=True, generator=generator())
    assert (estimated.betti, estimated.label, estimated.scale_label) == (truth, "heuristic", "heuristic")
    assert "the points show no less" in found.assumption or label == "heuristic"
    assert found.stable or "spanning" not in found.rule


def test_rotations_are_told_at_an_estimated_scale() -> None:
    found = homology(rotations(50_000), dim=3, closed=True, generator=generator())
    assert (found.betti, found.label) == ({2: (1, 1, 1, 1), 3: (1, 0, 0, 1)}, "heuristic")


def right_so_far(decided: tuple[int | None, ...], truth: tuple[int, ...]) -> bool:
    padded = (*truth, *(0,) * len(decided))
    return all(b is None or b == t for b, t in zip(decided, padded, strict=False))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("n", [30, 60, 120, 500, 1000, 2000])
def test_never_wrong_on_few_points(n: int, known: bool) -> None:
    """Right or undecided in every degree: 4 shapes, 3 seeds, dimension told or not."""
    shapes = ((circle, 1, {2: (1, 1), 3: (1, 1)}), (torus, 2, {2: (1, 2, 1), 3: (1, 2, 1)}), (projective_plane, 2, {2: (1, 1, 1), 3: (1, 0, 0)}))
    for shape, dim, truth in shapes:
        for seed in range(3):
            found = homology(shape(n, seed), generator=generator(seed), **({"dim": dim, "closed": True} if known else {}))  # type: ignore[arg-type]
            whole = {p: b for p, b in found.betti.items() if b is not None}
            assert all(right_so_far(b, truth[p]) for p, b in whole.items()), found.to_text()


def test_thirty_points_of_a_circle_are_undecided_and_say_why() -> None:
    found = homology(circle(30), dim=1, closed=True, generator=generator())
    assert found.betti == {2: None, 3: None}
    assert "needs eps <" in found.reason
    assert "has" in found.reason
    assert "undecided" in found.to_text()


def test_disc_and_dimension_unknown() -> None:
    x = 2 * torch.rand(8000, 2, dtype=torch.float64, generator=generator()) - 1
    disc = x[x.norm(dim=1) < 1]
    assert homology(disc, generator=generator()).betti == {2: (1, 0), 3: (1, 0)}
    assert homology(disc, dim=2, closed=False, max_degree=2, generator=generator()).betti == {2: (1, 0, 0), 3: (1, 0, 0)}


def test_given_scale_is_a_theorem_under_its_assumption() -> None:
    t = torch.arange(200, dtype=torch.float64) * (2 * math.pi / 200)
    found = homology(torch.stack([t.cos(), t.sin()], dim=1), dim=1, closed=True, scale=2 * math.sin(math.pi / 400))
    assert found.betti == {2: (1, 1), 3: (1, 1)}
    assert found.label == "proved-for-sample"
    assert found.covering_radius == 0


def test_engine_without_gpl_parts_agrees() -> None:
    found = homology(sphere(4000, 2), dim=2, closed=True, engine="rips", generator=generator())
    assert found.betti[2] == (1, 0, 1)
    assert found.engine == "gudhi Rips"


def test_noise_keeps_the_answer_or_withholds_it() -> None:
    g = generator(5)
    for sigma in (0.02, 0.1, 0.4):
        x = circle(3000) + sigma * torch.randn(3000, 2, dtype=torch.float64, generator=g)
        found = homology(x, dim=1, closed=True, generator=generator())
        assert all(right_so_far(b, (1, 1)) for b in found.betti.values() if b is not None)
        assert found.scale >= sigma
    assert homology(circle(3000) + 0.02 * torch.randn(3000, 2, dtype=torch.float64, generator=g), dim=1, closed=True, generator=generator()).betti[2] == (1, 1)


def test_same_seed_same_answer_and_units_scale() -> None:
    x = sphere(1500, 2)
    first, again, large = (homology(y, dim=2, closed=True, generator=generator(7)) for y in (x, x.clone(), 2.0**20 * x))
    assert first.to_dict() == again.to_dict()
    assert large.scale == pytest.approx(2.0**20 * first.scale)
    assert large.betti == first.betti


def test_result_is_json() -> None:
    found = homology(circle(400), dim=1, closed=True, generator=generator())
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["betti"]["2"] == [1, 1]
    assert "radius" in document["diagrams"]["3"]["unit"]


@pytest.mark.parametrize("bad", [{"dim": 4}, {"landmarks": "many"}, {"landmarks": 0}, {"scale": -1.0}, {"scale": math.nan}])
def test_refuses_options(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(bad))):
        homology(circle(100), **bad)  # type: ignore[arg-type]


def test_refuses_few_points_and_nan() -> None:
    with pytest.raises(InvalidInputError, match="distinct"):
        homology(circle(5).repeat(10, 1))
    x = circle(50)
    x[2, 1] = math.inf
    with pytest.raises(InvalidInputError, match="row 2"):
        homology(x)


def test_budget_is_respected() -> None:
    with pytest.raises(BudgetExceeded, match="smaller landmarks="):
        homology(sphere(5000, 2), dim=2, budget=Budget(max_bytes=100_000))


def diagram(*bars: tuple[float, float], threshold: float | None = None, filtration: str = "cech") -> Diagram:
    return Diagram(2, filtration, threshold, (np.array([[0.0, math.inf]]), np.array(bars, dtype=float).reshape(-1, 2)))


CECH = Rule("cech", 1.0, 10.0)


def test_spanning_counts_bars_through_the_interval() -> None:
    assert spanning(diagram((0.5, 5.0), (0.2, 0.9)), 1.0, CECH).betti == (1, 1)
    assert spanning(diagram((0.2, 0.9), (5.0, 6.0)), 1.0, CECH).betti == (1, 0)


@pytest.mark.parametrize(("bar", "words"), [((0.5, 2.0), "needs eps < 0.444, has 1"), ((0.5, 4.0), "needs eps < 0.889"), ((2.0, 9.0), "features of that size")])
def test_spanning_is_undecided_on_a_bar_that_contradicts(bar: tuple[float, float], words: str) -> None:
    count = spanning(diagram(bar), 1.0, CECH)
    assert count.betti == (1, None)
    assert words in count.reason


def test_no_reach_above_the_enclosing_radius() -> None:
    count = spanning(diagram((0.5, 50.0)), 2.6, CECH)
    assert not count.decided
    assert "needs eps < 2.5" in count.reason


def test_threshold_that_ends_early_decides_nothing() -> None:
    assert not spanning(diagram((0.5, math.inf), threshold=4.0), 1.0, CECH).decided
    assert spanning(diagram((0.5, math.inf), threshold=4.6), 1.0, CECH).decided


def test_rips_needs_a_wider_interval() -> None:
    rule = Rule("rips", jung(4), 10.0)
    assert rule.far == pytest.approx(2 + math.sqrt(8 / 5))
    assert rule.reach == pytest.approx((1 + math.sqrt(8 / 5)) ** 2)
    bar = diagram((0.5, 4.7), filtration="rips")
    assert spanning(bar, 1.0, CECH).decided
    assert not spanning(bar, 1.0, rule).decided


def test_plateau_asks_more_where_less_is_known() -> None:
    bar = diagram((0.9, 1.8))
    assert plateau(bar, 1.0, CECH, known=True, complete=True).betti == (1, 1)
    assert plateau(bar, 1.0, CECH, known=False, complete=False).betti == (1, None)


def test_a_cloud_too_coarse_for_every_rule_says_so_at_little_cost():
    """Points all over a ball of R^8: no number of landmarks brings eps to where a rule applies, so few are taken, and how many could not do it is said."""
    cloud = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = homology(cloud, dim=2, generator=torch.Generator().manual_seed(0))
    assert found.betti == {2: None, 3: None}
    assert found.n_landmarks <= 500
    assert any("even 1000 landmarks leave eps" in note for note in found.notes)
