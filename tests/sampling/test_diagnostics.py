"""R-hat, effective sample sizes and errors against chains of known law, against ArviZ, and in the cases that say nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.sampling.diagnostics import (
    autocorrelation_time,
    bulk_ess,
    effective_sample_size,
    energy_bfmi,
    mean_ess,
    mean_standard_error,
    rank_r_hat,
    split_r_hat,
    tail_ess,
)

ALL = (rank_r_hat, bulk_ess, tail_ess, mean_ess, mean_standard_error)


def autoregressive(rho: float, steps: int = 2000, chains: int = 50, k: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(steps, chains, k, generator=generator, dtype=torch.float64)
    x = noise.clone()
    for t in range(1, steps):
        x[t] = rho * x[t - 1] + (1 - rho**2) ** 0.5 * noise[t]
    return x


@pytest.mark.parametrize(
    ("rho", "steps", "chains"), [(0.0, 500, 4), (0.9, 1001, 3), (-0.6, 400, 4), (0.99, 300, 8), (0.7, 1000, 20), (0.3, 9, 2), (0.3, 8, 4), (0.3, 4, 3)]
)
def test_agrees_with_arviz(rho: float, steps: int, chains: int) -> None:
    """To 1e-10 on two to twenty chains, odd and very short ones included; values rounded to one digit test ties."""
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed: nothing to compare with")
    for x in (autoregressive(rho, steps, chains, 2), autoregressive(rho, steps, chains, 2, seed=1).round(decimals=1)):
        for j in range(2):
            one = x[..., j].T.numpy()
            theirs = [arviz.rhat(one), arviz.ess(one), arviz.ess(one, method="tail"), arviz.ess(one, method="mean"), arviz.mcse(one)]
            ours = [float(statistic(x)[j]) for statistic in ALL]
            assert ours == pytest.approx([float(value) for value in theirs], rel=1e-10)
        assert energy_bfmi(x[..., 0]).tolist() == pytest.approx(arviz.bfmi(x[..., 0].T.numpy()).tolist(), rel=1e-10)


def test_one_chain_agrees_with_arviz() -> None:
    arviz = pytest.importorskip("arviz", reason="ArviZ is not installed: nothing to compare with")
    x = autoregressive(0.5, 200, 1)[..., 0]
    assert float(bulk_ess(x)) == pytest.approx(float(arviz.ess(x.T.numpy())), rel=1e-10)
    assert 0.95 < float(rank_r_hat(x)) < 1.1


def test_effective_sizes_and_error_of_autoregressive_chains() -> None:
    """n / ess = (1 + rho)/(1 - rho) within 8 % (of 1/2 where it is smaller).

    The standard error of the mean is what 50 repetitions show, within 35 % (3.5 s.e. of a spread of 50).
    """
    for rho in (0.0, 0.5, 0.9, -0.5):
        x = autoregressive(rho)
        tau = (1 + rho) / (1 - rho)
        for ess in (mean_ess(x), bulk_ess(x)):
            assert 100_000 / float(ess) == pytest.approx(tau, abs=0.08 * max(tau, 0.5))
    runs = autoregressive(0.8, 400, 200).reshape(400, 4, 50)
    assert float(mean_standard_error(runs).mean() / runs.mean((0, 1)).std()) == pytest.approx(1, rel=0.35)


def test_autocorrelation_time_of_an_autoregressive_chain() -> None:
    """tau = (1 + rho) / (1 - rho) within 5 %, several standard errors for 100,000 positions."""
    for rho in (0.0, 0.5, 0.9):
        tau = float(autocorrelation_time(autoregressive(rho)))
        assert abs(tau / ((1 + rho) / (1 - rho)) - 1) < 0.05
        assert abs(float(effective_sample_size(autoregressive(rho))) * tau - 100_000) < 1e-6


def test_separate_components_show_in_r_hat_and_ess_but_not_within() -> None:
    x = autoregressive(0.5)
    x[:, :25] += 10
    assert float(split_r_hat(autoregressive(0.5))) < 1.01
    assert float(rank_r_hat(autoregressive(0.5))) < 1.01
    assert float(split_r_hat(x)) > 3
    assert float(rank_r_hat(x)) > 1.5
    assert float(effective_sample_size(x)) < 500
    assert float(bulk_ess(x)) < 500
    assert float(autocorrelation_time(x, within=True)) < 3.5


def test_planted_defects_that_the_plain_r_hat_misses() -> None:
    """Chains of different width, and heavy tails with one chain shifted: the folded and the ranked form see them."""
    wide = autoregressive(0.0, 500, 4)
    wide[:, 0] *= 3
    assert float(split_r_hat(wide)) < 1.02
    assert float(rank_r_hat(wide)) > 1.1
    heavy = torch.tan(math.pi * (torch.rand(500, 4, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64) - 0.5))
    heavy[:, 0] += 3
    assert float(split_r_hat(heavy)) < 1.02
    assert float(rank_r_hat(heavy)) > 1.05


def test_energies_that_move_slowly_show_in_the_bfmi() -> None:
    """E (dH)^2 / var = 2 (1 - rho)."""
    assert float(energy_bfmi(autoregressive(0.9)[..., 0]).mean()) == pytest.approx(0.2, rel=0.05)
    assert float(energy_bfmi(autoregressive(0.0)[..., 0]).mean()) == pytest.approx(2.0, rel=0.05)


def test_what_says_nothing_is_nan() -> None:
    torch.manual_seed(0)
    broken = torch.randn(50, 4, 3, dtype=torch.float64)
    broken[3, 1, 1], broken[..., 2] = torch.inf, 7.0
    for statistic in ALL:
        assert torch.isfinite(statistic(broken)).tolist() == [True, False, False]
        assert bool(statistic(broken[:3]).isnan().all())
        assert bool(statistic(broken[:0]).isnan().all())
        assert statistic(broken[..., 0]).shape == ()
    assert energy_bfmi(broken[..., 1]).isnan().tolist() == [False, True, False, False]
    assert bool(energy_bfmi(broken[..., 2]).isnan().all())
    assert bool(torch.isnan(split_r_hat(torch.zeros(3, 2, 1))).all())


def test_chains_that_stand_still_apart() -> None:
    """No evidence of a common law: R-hat infinite, hardly more effective samples than chains."""
    x = torch.arange(4, dtype=torch.float64).expand(60, 4)
    assert float(rank_r_hat(x)) == math.inf
    assert float(bulk_ess(x)) < 6


def test_inputs_stay_and_float32_is_taken() -> None:
    x = autoregressive(0.3, 100, 4, 2).float()
    before = x.clone()
    values = [statistic(x) for statistic in ALL]
    assert torch.equal(x, before)
    assert all(value.dtype == torch.float64 and value.shape == (2,) for value in values)


@pytest.mark.parametrize("values", [torch.zeros(5), torch.zeros(5, 0), torch.zeros(1, 1, 1, 1), None])
def test_bad_shapes_are_named(values: Tensor) -> None:
    with pytest.raises(InvalidInputError, match="values"):
        bulk_ess(values)
