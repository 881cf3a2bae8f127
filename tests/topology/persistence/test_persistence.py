"""Persistence: closed-form bars, radius units in both engines, fields, invariances, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.topology.persistence.persistence import Diagram, jung, persistence


def polygon(n: int, radius: float = 1.0) -> Tensor:
    t = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    return radius * torch.stack([t.cos(), t.sin()], dim=1)


def octahedron() -> Tensor:
    return torch.cat([torch.eye(3), -torch.eye(3)]).double()


def normal(n: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def projective_plane(n: int, seed: int = 0) -> Tensor:
    a, b, c = torch.nn.functional.normalize(normal(n, 3, seed), dim=1).T
    return torch.stack([a * b, a * c, b * b - c * c, 2 * b * c], dim=1)


def longest(diagram: Diagram, degree: int) -> np.ndarray:
    bars = diagram.bars[degree]
    return bars[np.argmax(bars[:, 1] - bars[:, 0])]


@pytest.mark.parametrize("n", [5, 12, 31])
@pytest.mark.parametrize("radius", [1.0, 7.5])
def test_polygon_has_one_loop_from_half_its_side_to_its_radius(n: int, radius: float) -> None:
    diagram = persistence(polygon(n, radius), max_degree=1)[2]
    assert diagram.filtration == "cech"
    assert diagram.bars[1].shape == (1, 2)
    assert longest(diagram, 1) == pytest.approx([math.sin(math.pi / n) * radius, radius], rel=1e-9)


def test_polygon_in_rips_dies_at_half_the_triangle_that_contains_the_centre() -> None:
    n = 12
    bar = longest(persistence(polygon(n), max_degree=1, engine="rips")[3], 1)
    assert bar == pytest.approx([math.sin(math.pi / n), math.sin(math.pi / 3)], rel=1e-9)


def test_squared_radii_would_be_caught() -> None:
    """Planted defect: alpha's default values, squared, are not what the closed form says."""
    from gudhi import AlphaComplex

    n = 12
    tree = AlphaComplex(points=polygon(n).numpy()).create_simplex_tree()
    tree.compute_persistence()
    wrong = max(tree.persistence_intervals_in_dimension(1), key=lambda bar: bar[1] - bar[0])
    right = longest(persistence(polygon(n), max_degree=1)[2], 1)
    assert abs(wrong[0] - math.sin(math.pi / n)) > 0.1
    assert right[0] == pytest.approx(math.sqrt(wrong[0]))


def test_diameters_would_be_caught() -> None:
    """Both engines give an edge half its length: two points meet at half their distance."""
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    for engine in ("alpha", "rips"):
        bars = persistence(x, max_degree=0, engine=engine)[2].bars[0]
        assert sorted(bars[:, 1]) == pytest.approx([2.5, math.inf])


def test_octahedron_has_a_void() -> None:
    alpha, rips = (persistence(octahedron(), max_degree=2, engine=e)[2] for e in ("alpha", "rips"))
    assert longest(alpha, 2) == pytest.approx([math.sqrt(2 / 3), 1.0])
    assert longest(rips, 2) == pytest.approx([math.sqrt(2) / 2, 1.0])


def test_degree_zero_agrees_between_engines_with_the_spanning_tree() -> None:
    from scipy.sparse.csgraph import minimum_spanning_tree

    x = normal(80, 3)
    tree = minimum_spanning_tree(torch.cdist(x, x).numpy()).data / 2
    for engine in ("alpha", "rips"):
        deaths = persistence(x, max_degree=0, engine=engine)[2].bars[0][:, 1]
        assert np.sort(deaths[np.isfinite(deaths)]) == pytest.approx(np.sort(tree), rel=1e-6)


def test_projective_plane_depends_on_the_field() -> None:
    diagrams = persistence(projective_plane(400), max_degree=2, threshold=0.42)
    assert diagrams[2].betti(0.36) == (1, 1, 1)
    assert diagrams[3].betti(0.36) == (1, 0, 0)


def test_default_field_of_the_library_would_be_caught() -> None:
    """Planted defect: gudhi's own default field 11 does not see the loop of the projective plane, Z/2 does."""
    eleven, two = (persistence(projective_plane(400), max_degree=1, threshold=0.42, fields=(p,))[p] for p in (11, 2))
    assert eleven.betti(0.36)[1] != two.betti(0.36)[1]


@pytest.mark.parametrize("engine", ["alpha", "rips"])
def test_invariances(engine: str) -> None:
    x = normal(60, 3)
    bars = persistence(x, max_degree=2, engine=engine)[2].bars
    turn = torch.linalg.qr(normal(3, 3, seed=4)).Q
    same = {
        "isometry": (x @ turn + 5.0, 1.0),
        "permutation": (x[torch.randperm(60, generator=torch.Generator().manual_seed(1))], 1.0),
        "duplicates": (torch.cat([x, x[:20]]), 1.0),
        "small": (x * 1e-30, 1e-30),
        "large": (x * 1e30, 1e30),
    }
    for name, (y, factor) in same.items():
        for ours, theirs in zip(bars, persistence(y, max_degree=2, engine=engine)[2].bars, strict=True):
            assert ours.shape == theirs.shape, name
            assert theirs / factor == pytest.approx(ours, rel=1e-7, abs=1e-9), name


def test_rips_and_cech_interleave_by_jung() -> None:
    x = polygon(30)
    cech, rips = (longest(persistence(x, max_degree=1, engine=e)[2], 1) for e in ("alpha", "rips"))
    assert rips[1] <= cech[1] <= jung(2) * rips[1] + 1e-9


def test_threshold_leaves_bars_alive() -> None:
    for engine in ("alpha", "rips"):
        diagram = persistence(polygon(20), max_degree=1, threshold=0.5, engine=engine)[2]
        assert diagram.alive(1) == 1
        assert diagram.threshold == diagram.end == 0.5
        assert diagram.to_dict()["bars"][1][0][1] is None


def test_affinely_degenerate_clouds() -> None:
    flat = torch.cat([polygon(40), torch.zeros(40, 1, dtype=torch.float64)], dim=1)
    assert persistence(flat, max_degree=2)[2].betti(0.5) == (1, 1, 0)
    line = torch.linspace(0, 1, 11, dtype=torch.float64)[:, None].expand(11, 3)
    assert persistence(line, max_degree=2)[2].betti(0.2) == (1, 0, 0)
    one = torch.ones(4, 3, dtype=torch.float64)
    assert persistence(one, max_degree=1)[2].betti(1.0) == (1, 0)


def test_does_not_change_its_input() -> None:
    x = polygon(9).requires_grad_()
    before = x.detach().clone()
    persistence(x, max_degree=1)
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("engine", ["alpha", "rips"])
def test_never_passes_nan_on(value: float, engine: str) -> None:
    x = polygon(9)
    x[4, 0] = value
    with pytest.raises(InvalidInputError, match="row 4"):
        persistence(x, max_degree=1, engine=engine)


@pytest.mark.parametrize("bad", [{"fields": (4,)}, {"fields": ()}, {"max_degree": -1}, {"engine": "ripser"}, {"threshold": 0.0}, {"threshold": math.nan}])
def test_refuses_options(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(bad))):
        persistence(polygon(9), **{"max_degree": 1, **bad})  # type: ignore[arg-type]


def test_empty_cloud() -> None:
    with pytest.raises(InvalidInputError, match="0 points"):
        persistence(torch.empty(0, 3), max_degree=1)
