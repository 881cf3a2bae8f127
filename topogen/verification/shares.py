"""Exact confidence bounds of a share that is known by counting.

Of n independent trials k are hits. With B_q(a, b) the q-quantile of the Beta law and alpha = 1 - level,

    low = B_alpha(k, n - k + 1),        high = B_(1 - alpha)(k + 1, n - k),

each of which holds with probability `level` at least, whatever the share. Clopper, Pearson (1934), The use of confidence or fiducial limits.
"""

from __future__ import annotations

__all__ = ["LEVEL", "exceeds", "share_bounds"]

LEVEL = 0.95


def share_bounds(hits: int, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """The lower and the upper bound of the share behind `hits` of `trials`, each with confidence `level`."""
    from scipy.stats import beta

    low = float(beta.ppf(1 - level, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(level, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def exceeds(hits: int, trials: int, limit: float, level: float = LEVEL) -> bool | None:
    """Whether the share is at least (True) or below (False) a limit, each with confidence `level`; None where the trials do not tell."""
    low, high = share_bounds(hits, trials, level)
    return True if low >= limit else False if high < limit else None
