"""What the warm-up tunes: the step length by dual averaging, the trajectory length by Adam. Frozen afterwards: a kernel that goes on adapting has another law.

With a_t the mean acceptance probability of step t and a* the wanted one,

    log h_t = mu - sqrt(t) / gamma * e_t,      e_t = e_{t-1} + (a* - a_t - e_{t-1}) / (t + t0)
    log H_t = t^-kappa log h_t + (1 - t^-kappa) log H_{t-1}                      H is the step that is kept

Nesterov (2009), Primal-dual subgradient methods for convex problems; Hoffman, Gelman (2014), The No-U-Turn sampler, section 3.2;
Kingma, Ba (2015), Adam.
"""

from __future__ import annotations

import math
from typing import final

__all__ = ["Ascent", "DualAveraging"]


@final
class DualAveraging:
    """Step length whose mean acceptance probability over the chains is `target`: `current` while tuning, `averaged` at the end.

    gamma = .05, t0 = 10, kappa = .75 and mu = log(10 h_0) as in Hoffman and Gelman (2014).
    """

    def __init__(self, step: float, target: float) -> None:
        self.target, self.current, self.averaged = target, step, step
        self._mu = math.log(10 * step)
        self._error = self._log = 0.0
        self._count = 0

    def update(self, acceptance: float) -> None:
        """Take in the mean acceptance probability of one step; a step without any finite one counts as 0."""
        self._count += 1
        t = self._count
        acceptance = acceptance if math.isfinite(acceptance) else 0.0
        self._error += (self.target - acceptance - self._error) / (t + 10)
        log = self._mu - math.sqrt(t) / 0.05 * self._error
        weight = t**-0.75
        self._log = weight * log + (1 - weight) * self._log
        self.current, self.averaged = math.exp(log), math.exp(self._log)


@final
class Ascent:
    """Adam on one number: the increments that climb a noisy slope whatever its scale."""

    def __init__(self, rate: float = 0.025) -> None:
        self.rate = rate
        self._mean = self._square = 0.0
        self._count = 0

    def step(self, slope: float) -> float:
        """The increment for a slope."""
        self._count += 1
        self._mean += 0.1 * (slope - self._mean)
        self._square += 0.05 * (slope**2 - self._square)
        mean, square = self._mean / (1 - 0.9**self._count), self._square / (1 - 0.95**self._count)
        return self.rate * mean / (math.sqrt(square) or 1.0)
