"""How far to trust chains: rank-normalised split R-hat, bulk and tail effective sample size, Monte Carlo errors, energy statistics.

Chains of scalar functionals are tensors (n_steps, n_chains) or (n_steps, n_chains, k). Each chain is cut in two halves, giving m chains of length n with
means mu_j and variances s_j^2, and with rho_t the autocorrelation at lag t over all chains about their common law,

    W = mean s_j^2,   B = n var mu_j,   V = (n - 1)/n W + B/n,   R^2 = V / W,   ess = n m / tau,   tau = -1 + 2 sum_k P_k,   P_k = rho_2k + rho_2k+1,

the sum over Geyer's positive, monotone pairs. "Rank" means of the normal scores z = Phi^-1((rank - 3/8)/(N + 1/4)), "folded" of |x - median|.
A functional with a value that is not finite, one that is the same everywhere, or fewer than four steps say nothing: the answer is NaN.
For two or more chains of eight or more steps the numbers are those of ArviZ 0.x to 1e-10. It is not called, installed or not: importing it takes two
seconds and warns, it has no R-hat of a single chain, and a number must not depend on what else is installed; `to_arviz` hands it the chains.
Vehtari, Gelman, Simpson, Carpenter, Buerkner (2021), Rank-normalization, folding, and localization: an improved R-hat; Geyer (1992), Practical Markov chain
Monte Carlo; Betancourt (2016), Diagnosing suboptimal cotangent disintegrations in Hamiltonian Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = [
    "autocorrelation_time",
    "bulk_ess",
    "effective_sample_size",
    "energy_bfmi",
    "mean_ess",
    "mean_standard_error",
    "rank_r_hat",
    "split_r_hat",
    "tail_ess",
]

_SHORTEST = 4
_CHUNK_ELEMENTS = 4_000_000
_TINY = torch.finfo(torch.float64).tiny


def rank_r_hat(values: Tensor) -> Tensor:
    """Rank-normalised split R-hat of chains (n_steps, n_chains[, k]), the larger of the plain and the folded one, () or (k,) float64.

    Infinite where every half chain stands still at a place of its own. Raises InvalidInputError for another number of dimensions or no chain.
    """
    return _per_functional(values, _rank_r_hat)


def bulk_ess(values: Tensor) -> Tensor:
    """Effective sample size of the normal scores of chains (n_steps, n_chains[, k]), () or (k,) float64: how well the centre of the law is known."""
    return _per_functional(values, lambda x: _ess(_normal_scores(_halves(x))))


def tail_ess(values: Tensor) -> Tensor:
    """Smaller effective sample size of the indicators x <= q of the 5 % and 95 % quantiles, () or (k,) float64; shapes as for `bulk_ess`."""
    return _per_functional(values, lambda x: torch.minimum(_ess(_halves(_below(x, 0.05))), _ess(_halves(_below(x, 0.95)))))


def mean_ess(values: Tensor) -> Tensor:
    """Effective sample size for the mean of chains (n_steps, n_chains[, k]), () or (k,) float64; on antithetic chains it exceeds their number."""
    return _per_functional(values, lambda x: _ess(_halves(x)))


def mean_standard_error(values: Tensor) -> Tensor:
    """Monte Carlo standard error sd / sqrt(`mean_ess`) of the mean of chains (n_steps, n_chains[, k]), () or (k,) float64."""
    return _per_functional(values, lambda x: x.flatten(0, 1).std(0) / _ess(_halves(x)).sqrt())


def energy_bfmi(energies: Tensor) -> Tensor:
    """Estimated Bayesian fraction of missing information (n_chains,) of energy traces (n_steps, n_chains): E[(H_t - H_t-1)^2] / var H.

    Below .3 the momenta change the energy too little per step to explore its law. NaN for constant, short or not finite traces.
    """
    h = _checked(energies)[..., 0]
    spread = h.var(0) if len(h) >= _SHORTEST else h.new_full(h.shape[1:], torch.nan)
    change = h.diff(dim=0).square().sum(0) / max(len(h) - 1, 1)
    return torch.where(spread > 0, change / spread, torch.nan)


def autocorrelation_time(points: Tensor, *, within: bool = False) -> Tensor:
    """Integrated autocorrelation time tau (D,) of (n_steps, n_chains, D) in steps, at least 1, without ranks, about the common mean of all chains.

    tau = 1 + 2 sum_t rho_t over the positive pairs; `within` centres every chain by itself, so that separate components do not count.
    """
    mean = points.mean(0, keepdim=True) if within else points.mean((0, 1))
    covariance = _autocovariance(points.double() - mean).mean(1)
    rho = covariance / covariance[0].clamp_min(_TINY)
    pairs = _pairs(rho)
    positive = (pairs > 0).cumprod(0)
    tau: Tensor = (2 * (pairs * positive).sum(0) - 1).clamp_min(1.0)
    return tau


def effective_sample_size(points: Tensor) -> Tensor:
    """Effective number (D,) of independent positions among (n_steps, n_chains, D) by `autocorrelation_time`."""
    return points.shape[0] * points.shape[1] / autocorrelation_time(points)


def split_r_hat(points: Tensor) -> Tensor:
    """Potential scale reduction (D,) of chains (n_steps, n_chains, D) split in halves, without ranks; NaN for fewer than four steps."""
    if len(points) < _SHORTEST:
        return points.new_full(points.shape[-1:], torch.nan)
    return _r_hat(_halves(points.double()))


def _checked(values: Tensor) -> Tensor:
    """Float64 (n_steps, n_chains, k)."""
    if not torch.is_tensor(values) or values.ndim not in (2, 3) or values.shape[1] < 1:
        found = tuple(values.shape) if torch.is_tensor(values) else type(values).__name__
        raise InvalidInputError(f"values: expected a tensor (n_steps, n_chains) or (n_steps, n_chains, k) with at least one chain, found {found}")
    x = values.detach().double()
    return x if x.ndim == 3 else x.unsqueeze(2)


def _per_functional(values: Tensor, statistic: Callable[[Tensor], Tensor]) -> Tensor:
    """`statistic` of the chains of every functional it can be asked of, NaN elsewhere, in blocks that fit in memory."""
    x = _checked(values)
    result = x.new_full(x.shape[2:], torch.nan)
    if len(x) >= _SHORTEST:
        flat = x.flatten(0, 1)
        sound = (torch.isfinite(flat).all(0) & (flat.amax(0) > flat.amin(0))).nonzero().squeeze(1)
        for part in sound.split(max(1, _CHUNK_ELEMENTS // len(flat))) if len(sound) else ():
            result[part] = statistic(x[..., part])
    return result.reshape(values.shape[2:])


def _halves(x: Tensor) -> Tensor:
    """(n // 2, 2 m, k); the middle step of an odd number is left out."""
    half = len(x) // 2
    return torch.cat([x[:half], x[len(x) - half :]], 1)


def _rank_r_hat(x: Tensor) -> Tensor:
    halves = _halves(x)
    return torch.fmax(_r_hat(_normal_scores(halves)), _r_hat(_normal_scores(_folded(halves))))


def _r_hat(x: Tensor) -> Tensor:
    n = len(x)
    within = x.var(0).mean(0)
    between = x.mean(0).var(0)
    return torch.where(within + between > 0, ((n - 1) / n + between / within).sqrt(), torch.nan)


def _ess(x: Tensor) -> Tensor:
    """Effective sample size (k,) of (n, m, k), m >= 2; of a constant n m."""
    n, m, _ = x.shape
    covariance = _autocovariance(x - x.mean(0)).mean(1)
    within = covariance[0] * n / (n - 1)
    total = (covariance[0] + x.mean(0).var(0)).clamp_min(_TINY)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    tau = _truncated_sum(rho).clamp_min(1 / torch.log10(rho.new_tensor(float(max(n * m, 10)))))
    return torch.where(total > _TINY, n * m / tau, float(n * m))


def _truncated_sum(rho: Tensor) -> Tensor:
    """-1 + 2 sum P_k over the positive pairs made monotone, and the even autocorrelation after them where it is positive."""
    pairs = _pairs(rho)
    count = (pairs > 0).cumprod(0).sum(0).clamp(max=max(len(rho) - 3, 0) // 2)  # the last lags are averages of few products
    kept = torch.arange(len(pairs), device=rho.device).unsqueeze(1) < count
    monotone = torch.where(kept, pairs, torch.inf).cummin(0).values
    after = rho.gather(0, (2 * count).clamp(max=len(rho) - 1).unsqueeze(0)).squeeze(0).clamp_min(0)
    return -1 + 2 * torch.where(kept, monotone, 0.0).sum(0) + torch.where(2 * count < len(rho), after, 0.0)


def _pairs(rho: Tensor) -> Tensor:
    even = len(rho) - len(rho) % 2
    return rho[:even].reshape(-1, 2, rho.shape[-1]).sum(1)


def _autocovariance(centred: Tensor) -> Tensor:
    """sum_s x_s x_s+t / n at all lags t, (n, m, k), by FFT."""
    n = len(centred)
    spectrum = torch.fft.rfft(centred, 2 * n, dim=0)
    return torch.fft.irfft(spectrum.abs().square(), 2 * n, dim=0)[:n] / n


def _normal_scores(x: Tensor) -> Tensor:
    """Phi^-1((rank - 3/8)/(N + 1/4)) over all chains of each functional, equal values sharing their mean rank."""
    flat = x.flatten(0, 1).T.contiguous()
    ordered, order = flat.sort(1)
    shared = (torch.searchsorted(ordered, ordered) + torch.searchsorted(ordered, ordered, right=True) + 1).double() / 2
    scores = torch.special.ndtri((shared - 0.375) / (flat.shape[1] + 0.25))
    return torch.empty_like(scores).scatter_(1, order, scores).T.reshape(x.shape)


def _folded(x: Tensor) -> Tensor:
    return (x - _quantile(x, 0.5)).abs()


def _below(x: Tensor, probability: float) -> Tensor:
    return (x <= _quantile(x, probability)).double()


def _quantile(x: Tensor, probability: float) -> Tensor:
    """Linearly interpolated quantile (k,) over all chains; torch.quantile refuses more than 2^24 values."""
    ordered = x.flatten(0, 1).T.contiguous().sort(1).values
    position = probability * (ordered.shape[1] - 1)
    low = int(position)
    high = min(low + 1, ordered.shape[1] - 1)
    return (1 - position + low) * ordered[:, low] + (position - low) * ordered[:, high]
