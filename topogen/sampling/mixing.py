"""How well chains mix: autocorrelation time, effective sample size and split R-hat of positions (n_steps, n_chains, D).

With rho_t the autocorrelation at lag t, pooled over the chains about their common mean,

    tau = 1 + 2 sum_t rho_t,     ess = n_steps n_chains / tau,     R^2 = (n - 1)/n + B / (n W),

the sum cut where the sums rho_2t + rho_2t+1 of neighbouring pairs stop being positive. Pooling makes tau large when chains sit on different components.
Geyer (1992), Practical Markov chain Monte Carlo; Gelman et al. (2013), Bayesian Data Analysis, section 11.4.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["autocorrelation_time", "effective_sample_size", "split_r_hat"]


def autocorrelation_time(points: Tensor, *, within: bool = False) -> Tensor:
    """Integrated autocorrelation time tau (D,) in steps, at least 1; `within` centres every chain by itself, so components do not count."""
    n = len(points)
    mean = points.mean(0, keepdim=True) if within else points.mean((0, 1))
    transformed = torch.fft.rfft(points.double() - mean, 2 * n, dim=0)
    covariance = torch.fft.irfft(transformed.abs().square(), 2 * n, dim=0)[:n].mean(1)
    rho = covariance / covariance[0].clamp_min(torch.finfo(torch.float64).tiny)
    even = n - n % 2
    pairs = rho[:even].reshape(-1, 2, rho.shape[-1]).sum(1)
    positive = (pairs > 0).cumprod(0)
    tau: Tensor = (2 * (pairs * positive).sum(0) - 1).clamp_min(1.0)
    return tau


def effective_sample_size(points: Tensor) -> Tensor:
    """Effective number (D,) of independent positions among (n_steps, n_chains, D)."""
    return points.shape[0] * points.shape[1] / autocorrelation_time(points)


def split_r_hat(points: Tensor) -> Tensor:
    """Potential scale reduction (D,) of chains split in halves; NaN for fewer than four steps."""
    half = len(points) // 2
    if half < 2:
        return points.new_full(points.shape[-1:], torch.nan)
    halves = torch.cat([points[:half], points[half : 2 * half]], 1).double()
    within = halves.var(0).mean(0)
    between = halves.mean(0).var(0)
    return ((half - 1) / half + between / within).sqrt()
