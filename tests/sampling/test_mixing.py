"""Autocorrelation time, effective sample size and R-hat against chains of known law."""

from __future__ import annotations

import torch

from topogen.sampling import autocorrelation_time, effective_sample_size, split_r_hat


def autoregressive(rho: float, steps: int = 2000, chains: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(steps, chains, 1, generator=generator, dtype=torch.float64)
    x = noise.clone()
    for t in range(1, steps):
        x[t] = rho * x[t - 1] + (1 - rho**2) ** 0.5 * noise[t]
    return x


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
    assert float(split_r_hat(x)) > 3
    assert float(effective_sample_size(x)) < 500
    assert float(autocorrelation_time(x, within=True)) < 3.5


def test_short_runs_have_no_r_hat() -> None:
    assert bool(torch.isnan(split_r_hat(torch.zeros(3, 2, 1))).all())
