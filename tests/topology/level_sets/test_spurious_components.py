"""The ghost audit against zero sets whose ghosts are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds import Gate, ImplicitManifold
from topogen.manifolds.shapes import Circle
from topogen.topology.level_sets.spurious_components import audit, held_out_radius, wilson_interval


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def circle(n: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 2, generator=seed(0), dtype=torch.float64), dim=1)


def with_ghost(x: Tensor) -> Tensor:
    """The unit circle and a ghost, the circle of radius .3 inside it: starts below radius .65 - a bit end on the ghost."""
    radius = x.norm(dim=1, keepdim=True)
    return (radius - 1) * (radius - 0.3)


CLEAN = ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2)
HAUNTED = ImplicitManifold(with_ghost, 1, 2)


def test_a_clean_zero_set_has_none() -> None:
    found = audit(CLEAN, circle(400), n_starts=2000, generator=seed(1))
    assert (found.starts, found.ghosts, found.outside) == (2000, 0, 0)
    assert found.interval == (0.0, pytest.approx(0.00192, abs=1e-5))
    assert found.examples.shape == (0, 2)


def test_a_ghost_is_found_and_its_share_is_that_of_its_basin() -> None:
    """Basin of the inner circle: radius below .65, of a box of side 2.2; the interval holds it up to Newton's jumps near its rim."""
    found = audit(HAUNTED, circle(400), n_starts=4000, generator=seed(1))
    basin = torch.pi * 0.65**2 / 2.2**2
    assert found.interval[0] - 0.02 < basin < found.interval[1] + 0.02
    assert found.ghosts + found.unconverged < found.starts
    assert torch.allclose(found.examples.norm(dim=1), torch.full((10,), 0.3, dtype=torch.float64), atol=1e-6)


def test_unconverged_starts_are_counted_apart() -> None:
    nowhere = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) + 1, 1, 2)
    found = audit(nowhere, circle(100), n_starts=300, generator=seed(1))
    assert (found.unconverged, found.ghosts) == (300, 0)


def test_beyond_the_gate_is_outside_not_a_ghost() -> None:
    points = circle(800)
    points = points[points[:, 1] > 0]
    gated = ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2, gate=Gate(points, 0.1, 3))
    found = audit(gated, points, n_starts=1000, generator=seed(1))
    assert found.ghosts == 0
    assert found.outside > 0
    assert gated.gate is not None
    assert gated.closest


def test_any_manifold_and_the_same_seed() -> None:
    first, second = (audit(Circle(), circle(200), n_starts=200, generator=seed(2)) for _ in range(2))
    assert (first.ghosts, first.threshold) == (0, second.threshold)


def test_covering_radius_is_that_of_the_cloud_and_one_outlier_does_not_change_it() -> None:
    points = circle(1000)
    radius = held_out_radius(points, seed(3))
    assert 0.01 < radius < 0.06
    outlier = torch.cat([points, torch.tensor([[5.0, 5.0]], dtype=torch.float64)])
    assert held_out_radius(outlier, seed(3)) < 1.5 * radius


def test_wilson_interval() -> None:
    """Against the tabulated interval for 10 of 100 (.0552, .1744), and the ends."""
    assert wilson_interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert wilson_interval(0, 50)[0] == 0.0
    assert wilson_interval(50, 50)[1] == 1.0


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidInputError, match="points"):
        audit(CLEAN, circle(100) * torch.nan)
    with pytest.raises(InvalidInputError, match="n_starts"):
        audit(CLEAN, circle(100), n_starts=0)
    with pytest.raises(InvalidInputError, match="points"):
        audit(CLEAN, torch.rand(10, 3))
