"""The dimension certificate holds where the spectrum says so, fails where it does not, and stands beside the verdict."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Torus
from topogen.verification import Verdict, dimension_certificate, verify
from topogen.verification.distances import between_clouds, nearest_on, quantile, samples_to_data, to_manifold
from topogen.verification.shares import exceeds, share_bounds


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ring(x):
    return x.square().sum(1, keepdim=True) - 1


def overcomplete(second):
    """Two outputs for a circle: the second one is `second` times an independent function, the next singular value with it."""
    return ImplicitManifold(lambda x: torch.cat([ring(x) / 2, second * torch.sin(3 * torch.atan2(x[:, 1:], x[:, :1]))], 1), 1, 2)


def test_a_regular_constraint_has_an_infinite_gap_and_no_tilt():
    found = dimension_certificate(ImplicitManifold(ring, 1, 2), Circle().sample(300, generator()))
    assert found.holds
    assert found.gap_quantile == math.inf
    assert found.tilt_quantile == 0
    assert found.kept_min == pytest.approx(2.0)
    assert found.kept_residual < 1e-12
    assert found.to_claim().holds is True
    assert not found.to_claim().decides


def test_a_closing_gap_is_caught():
    points = Circle().sample(300, generator())
    wide = dimension_certificate(overcomplete(1e-4), points)
    assert wide.holds
    assert wide.gap_quantile == pytest.approx(1 / 3e-4, rel=0.05)
    narrow = dimension_certificate(overcomplete(0.2), points)
    assert not narrow.holds
    assert narrow.gap_quantile < 5


def test_the_share_counts_points():
    """1 % of bad points is allowed, 2 % is not."""
    values = torch.cat([torch.zeros(98), torch.ones(2)])
    assert quantile(values, 0.98) == 0
    assert quantile(values, 0.99) == 1
    assert quantile(values, 1.0) == 1
    assert quantile(torch.tensor([3.0]), 0.99) == 3


def test_a_few_good_points_certify_nothing():
    """A hundred faultless points leave a share of 3 % open; 299 are the fewest that show 99 % at a confidence of 95 %."""
    few = dimension_certificate(ImplicitManifold(ring, 1, 2), Circle().sample(100, generator()))
    assert (few.good, few.holds, few.to_claim().holds) == (100, None, None)
    assert "100 of 100 samples, hence on 97.05% to 100.00%" in few.to_claim().bound
    assert [exceeds(n, n, 0.99) for n in (298, 299)] == [None, True]


def test_bounds_of_shares_cover():
    """Exact: P(low > share) over Binomial(60, share) is at most 5 %, and so is P(high < share); Wilson's bounds exceed it."""
    for share in (0.005, 0.05, 0.5, 0.99):
        chances = [math.comb(60, k) * share**k * (1 - share) ** (60 - k) for k in range(61)]
        bounds = [share_bounds(k, 60) for k in range(61)]
        assert sum(c for c, (low, _) in zip(chances, bounds, strict=True) if low > share) <= 0.05
        assert sum(c for c, (_, high) in zip(chances, bounds, strict=True) if high < share) <= 0.05


def test_shapes_and_empty_clouds_are_refused():
    with pytest.raises(NotSupportedError, match="Torus has no constraint"):
        dimension_certificate(Torus(), Torus().sample(10, generator()))
    with pytest.raises(InvalidInputError, match="found none"):
        dimension_certificate(ImplicitManifold(ring, 1, 2), torch.zeros(0, 2, dtype=torch.float64))


def test_distances_between_clouds():
    one = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    other = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    evidence = between_clouds(one, other)[0].evidence
    assert evidence["hausdorff"] == pytest.approx(math.sqrt(10))
    assert evidence["max_against_to_subject"] == pytest.approx(3)
    assert evidence["mean_subject_to_against"] == pytest.approx((3 + math.sqrt(10)) / 2)
    assert samples_to_data(one, other).evidence["max_from_data"] == pytest.approx(3)


def test_points_that_cannot_be_projected_are_counted():
    points = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.5]], dtype=torch.float64)
    claim = to_manifold(nearest_on(Circle(), points)[1])
    assert claim.holds is False
    assert claim.evidence["unconverged"] == 1
    assert claim.evidence["mean"] == pytest.approx(0.75)
    assert "1 of 3 points" in claim.bound
    assert to_manifold(nearest_on(Circle(), points[1:2])[1]).holds is False


class _Uniform:
    """A stand-in for the uniform distribution: exact samples of the circle, and what it was given as starts."""

    starts: list = []

    def __init__(self, manifold, points=None, generator=None):
        _Uniform.starts.append(points)
        self.volume = SimpleNamespace(value=6.28, standard_error=0.01, method="shell")

    def sample(self, shape, generator=None):
        return Circle().sample(shape[0], generator)


@pytest.mark.parametrize(("ghosts", "holds"), [(0, True), (40, False)])
def test_a_manifold_is_sampled_from_the_data_and_audited_for_ghosts(monkeypatch, ghosts, holds):
    data = Circle().sample(500, generator(1))
    audit = SimpleNamespace(starts=1000, ghosts=ghosts, unconverged=3, share=ghosts / 1000, landed=data)
    monkeypatch.setitem(sys.modules, "topogen.distributions.uniform.uniform", SimpleNamespace(Uniform=_Uniform))
    monkeypatch.setattr("topogen.verification.evidence.manifolds.audit", lambda *args, **named: audit)
    found = verify(ImplicitManifold(ring, 1, 2), data, "circle", n_samples=1000)
    assert found.verdict is (Verdict.INCONCLUSIVE if holds is False else Verdict.CONFIRMED)
    assert torch.equal(_Uniform.starts[-1], data)
    claim = next(claim for claim in found.claims if claim.text.startswith("ghosts"))
    assert claim.holds is holds
    assert not claim.decides
    assert claim.evidence["unconverged"] == 3
    assert any("standard error 0.01 (shell)" in claim.text for claim in found.claims)
