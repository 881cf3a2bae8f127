"""Chains as ArviZ sees them."""

from __future__ import annotations

import sys

import pytest
import torch

from topogen.errors import InvalidInputError, MissingDependencyError
from topogen.sampling.arviz_bridge import to_arviz
from topogen.sampling.diagnostics import bulk_ess

POINTS = torch.randn(60, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_dimensions_values_and_statistics() -> None:
    arviz = pytest.importorskip("arviz")
    data = to_arviz(POINTS, energy=POINTS[..., 0], diverging=POINTS[..., 1] > 2)
    assert data.posterior["x"].dims == ("chain", "draw", "coordinate")
    assert data.posterior["x"].shape == (3, 60, 2)
    assert float(data.posterior["x"][1, 4, 0]) == float(POINTS[4, 1, 0])
    assert data.sample_stats["energy"].dims == ("chain", "draw")
    assert data.sample_stats["diverging"].dtype == bool
    assert arviz.ess(data)["x"].values.tolist() == pytest.approx(bulk_ess(POINTS).tolist())
    assert "sample_stats" not in to_arviz(POINTS).groups()


def test_without_arviz_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(MissingDependencyError, match="arviz"):
        to_arviz(POINTS)


def test_bad_shapes_are_named() -> None:
    with pytest.raises(InvalidInputError, match="points"):
        to_arviz(POINTS[0])
    with pytest.raises(InvalidInputError, match="energy"):
        to_arviz(POINTS, energy=POINTS[0])
