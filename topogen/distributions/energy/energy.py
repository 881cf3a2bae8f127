"""Densities exp(-E) on a manifold with a normaliser one can believe.

    p(x) = exp(-E(x)) / Z,             Z = int_M exp(-E) dvol = E_q[exp(-E) / q]
    p(x) = q(x) exp(-f(x)) / Z,        Z = E_q[exp(-f)]                              the same for E = f - log q, a tilt of q

against the d-dimensional volume (Hausdorff) measure of M, for any distribution q on M that covers it and can be drawn from: the uniform distribution, kernels
around the data (`tangent_kernels`), another model. log Z comes from draws of q that nothing was fitted to, with its standard error and the effective sample
size (sum w)^2 / sum w^2 of the weights w = exp(-E) / q; where that is too small, the estimate would look good and be wrong, and it is refused.
Owen (2013), Monte Carlo theory, methods and examples, chapter 9; Kong (1992), A note on importance sampling using standardized weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError, NormalizerError
from topogen.manifolds.base import Manifold
from topogen.sampling import sample as sample_chains

__all__ = ["Energy"]

ACCURACY = 2e-3
BATCH = 20_000
MOST = 200_000
LEAST_EFFECTIVE = 400
CHAIN_STEPS = 20
MOST_REJECTED = 1000
LARGEST_CHAINS = 20_000


@final
class Energy(Distribution):
    """The distribution with density proportional to exp(-energy), or to q exp(-energy), on a manifold.

    Args:
        manifold: M.
        energy: E, rows (n, D) float64 on M -> (n,), a callable or a module.
        proposal: q, a distribution on M with `sample((n,), generator=)` and `log_prob`; None is the uniform distribution.
        tilt: the density is q exp(-energy) instead of exp(-energy).
        points: known points (n, D) on or near M, handed to the uniform distribution where that needs them.
        seed: seeds what is estimated once, the normaliser; None draws it from `generator` (None: torch's global one).

    Raises InvalidInputError for energies of the wrong shape or that are NaN or above their own `bound`, NormalizerError where Z cannot be believed.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(
        self,
        manifold: Manifold,
        energy: Callable[[Tensor], Tensor],
        *,
        proposal: Any = None,
        tilt: bool = False,
        points: Tensor | None = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.manifold, self.energy, self.tilt = manifold, energy, tilt
        self.seed = int(torch.randint(2**62, (), generator=generator)) if seed is None else seed
        self.proposal = Uniform(manifold, points=points, seed=self.seed) if proposal is None else proposal
        self._normalizer: Estimate | None = None
        super().__init__(torch.Size(), torch.Size((manifold.ambient_dim,)), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        """-E - log Z (...) at the projections of points (..., D); -inf where there is none on M. Differentiable as the energy (and a tilted q) is."""
        found = self.manifold.project(value.double())
        flat, on = found.points.reshape(-1, found.points.shape[-1]), found.converged.reshape(-1)
        density = torch.full_like(flat[:, 0], -torch.inf).masked_scatter(on, -self.potential(flat[on]) - self.log_normalizer().value)
        return density.reshape(found.converged.shape).to(value.dtype)

    def log_normalizer(self, *, n: int | None = None, generator: torch.Generator | None = None) -> Estimate:
        """log Z with its standard error; computed once from the distribution's own seed, anew from n draws where `n` or `generator` is given.

        Raises NormalizerError where fewer than 400 of the draws are effective.
        """
        if n is not None or generator is not None:
            return self._estimate(n or BATCH, n or MOST, generator)
        if self._normalizer is None:
            self._normalizer = self._estimate(BATCH, MOST, torch.Generator().manual_seed(self.seed))
        return self._normalizer

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64.

        A tilt by a bounded energy (an attribute `bound` b with |f| <= b) is drawn by rejection from the proposal. Otherwise draws of the proposal are resampled
        by their weights, which settles the shares of the components, and moved by twenty exact steps of the tangent walk, which tells points apart that were
        drawn more than once.
        """
        shape = torch.Size(sample_shape)
        if not shape.numel():
            return torch.zeros(*shape, self.manifold.ambient_dim, dtype=torch.float64)
        bound = getattr(self.energy, "bound", None)
        with torch.no_grad():
            drawn = self._rejected(shape.numel(), bound, generator) if self.tilt and bound is not None else self._resampled(shape.numel(), generator)
        return drawn.reshape(*shape, self.manifold.ambient_dim)

    def potential(self, points: Tensor) -> Tensor:
        """E (n,), or f - log q for a tilt, at points (n, D) float64 of M: -log of the density up to log Z."""
        own = self._energies(points)
        return own - _log_density(self.proposal, points) if self.tilt else own

    def entropy(self) -> Tensor:
        """-E log p in nats, by importance sampling from the proposal."""
        with torch.no_grad():
            pool, weight = self._weighted(BATCH, torch.Generator().manual_seed(self.seed))
            _believable(weight)
            share = torch.softmax(weight, 0)
            energies = torch.where(share > 0, self.potential(pool), 0.0)
            return (share * energies).sum() + self.log_normalizer().value

    def _rejected(self, n: int, bound: float, generator: torch.Generator | None) -> Tensor:
        kept, have, drawn = [], 0, 0
        while have < n:
            if drawn >= MOST_REJECTED * max(n, BATCH):
                raise NormalizerError(
                    f"sample: {have} of {drawn} draws of the proposal were kept under |energy| <= bound = {bound:.4g}; give a smaller bound that holds,"
                    " or none, for draws by resampling"
                )
            points = self.proposal.sample((min(BATCH, 20 * (n - have) + 100),), generator=generator).double()
            level = torch.rand(len(points), dtype=torch.float64, generator=generator).log()
            kept.append(points[level < -self._energies(points) - bound])
            have, drawn = have + len(kept[-1]), drawn + len(points)
        return torch.cat(kept)[:n]

    def _resampled(self, n: int, generator: torch.Generator | None) -> Tensor:
        pool, weight = self._weighted(max(BATCH, 2 * n), generator)
        _believable(weight)
        chosen = pool[torch.multinomial((weight - weight.amax()).exp(), n, replacement=True, generator=generator)]
        return torch.cat([self._moved(part, generator) for part in chosen.split(LARGEST_CHAINS)])

    def _moved(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        chains = sample_chains(
            self.manifold, self.potential, start=points, kernel="random_walk", n_steps=CHAIN_STEPS, n_warm_up=CHAIN_STEPS, generator=generator
        )
        return chains.points[-1]

    def _estimate(self, batch: int, most: int, generator: torch.Generator | None) -> Estimate:
        logs = torch.zeros(0, dtype=torch.float64)
        with torch.no_grad():
            while len(logs) < most and not (len(logs) and _relative_error(logs) <= ACCURACY):
                logs = torch.cat([logs, self._weighted(batch, generator)[1]])
        effective = _believable(logs)
        value = float(torch.logsumexp(logs, 0)) - math.log(len(logs))
        method = f"log of a mean over {len(logs)} draws of {type(self.proposal).__name__}, {effective:.0f} of them effective"
        return Estimate(value, math.hypot(_relative_error(logs), self._volume_error()), method)

    def _volume_error(self) -> float:
        """The relative standard error of a volume that all weights share: Z = vol(M) E[exp(-E)] for a uniform proposal."""
        if self.tilt or not isinstance(self.proposal, Uniform):
            return 0.0
        volume = self.proposal.volume
        return volume.standard_error / volume.value

    def _weighted(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """n draws (n, D) of the proposal and their log weights -E - log q (n,)."""
        points = self.proposal.sample((n,), generator=generator).double()
        own = self._energies(points)
        return points, -own if self.tilt else -own - _log_density(self.proposal, points)

    def _energies(self, points: Tensor) -> Tensor:
        value = self.energy(points)
        if not torch.is_tensor(value) or value.shape != points.shape[:1] or not value.is_floating_point():
            found = tuple(value.shape) if torch.is_tensor(value) else type(value).__name__
            raise InvalidInputError(f"energy: expected a floating tensor of shape ({len(points)},) for {len(points)} rows, found {found}")
        if bool(torch.isnan(value).any()):
            raise InvalidInputError(f"energy: {int(torch.isnan(value).sum())} of {len(points)} values are NaN; +inf forbids a point, NaN is an error")
        bound = getattr(self.energy, "bound", None)
        if bound is not None and bool((value.detach().abs() > bound * (1 + 1e-6)).any()):
            raise InvalidInputError(
                f"energy: |energy| reaches {float(value.detach().abs().max()):.4g} although energy.bound is {float(bound):.4g}, and draws by rejection would be"
                " wrong; give a bound that holds, or none"
            )
        return value.double()


def _log_density(proposal: Any, points: Tensor) -> Tensor:
    """log q at points of M, without projecting them again where the proposal can do that."""
    if isinstance(proposal, Uniform):
        return torch.full(points.shape[:1], -math.log(proposal.volume.value), dtype=points.dtype)
    density: Tensor = proposal.log_density(points) if hasattr(proposal, "log_density") else proposal.log_prob(points)
    return density


def _relative_error(logs: Tensor) -> float:
    weight = (logs - logs.amax()).exp()
    return float(weight.std() / weight.mean()) / len(weight) ** 0.5


def _believable(logs: Tensor) -> float:
    """Effective sample size of log weights; raises NormalizerError below 400."""
    weight = (logs - logs.amax()).exp() if bool(torch.isfinite(logs).any()) else torch.zeros_like(logs)
    effective = float(weight.sum() ** 2 / weight.square().sum().clamp_min(1e-300))
    if not effective >= LEAST_EFFECTIVE:
        raise NormalizerError(
            f"log_normalizer: {effective:.0f} of {len(logs)} draws of the proposal are effective, at least {LEAST_EFFECTIVE} are needed;"
            " give a proposal nearer to the density, such as kernels around its data, or a higher temperature"
        )
    return effective
