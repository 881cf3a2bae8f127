"""The equilibrium that diffusion on M comes from: uniform on every component of M, with a weight per component.

    p(x) = w_c / vol(M_c)      at points of component c, against the d-dimensional volume (Hausdorff) measure of M

A continuous motion on M does not leave its component, so the weights w_c are those of the data for ever.
"""

from __future__ import annotations

from typing import Protocol, final

import torch
from torch import Tensor

from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.manifolds.base import Manifold
from topogen.manifolds.local_polynomial import LARGEST_DIMENSION, fit_local_polynomials
from topogen.sampling.brownian import brownian
from topogen.sampling.connected_components import connected_components

__all__ = ["Base", "ChartMixtureBase", "SampledManifold", "UniformComponents", "data_weights", "sampled_manifold"]

POOL = {1: 4000, 2: 20_000, 3: 40_000}
_STIRRED = 2.0
_TRIES = 200


@final
class SampledManifold:
    """A manifold as motions on it need it: something fast to project to, uniform points of it, their components.

    `fast`: the manifold itself where it is given in closed form or d > 3, else its table (`manifolds.local_polynomial`); `pool` (m, D): uniform points;
    `labels` (m,): their components; `volume`: of M, data units.
    """

    def __init__(self, manifold: Manifold, pool: Tensor, volume: float, labels: Tensor | None = None) -> None:
        self.manifold, self.pool, self.volume = manifold, pool.detach().double(), volume
        cheap = manifold.closed_form or manifold.dim > LARGEST_DIMENSION
        self.fast: Manifold = manifold if cheap else fit_local_polynomials(self.pool, manifold.dim)
        self.fresh = Uniform(manifold) if manifold.closed_form else None
        self.labels = _components(manifold, self.pool) if labels is None else labels
        self.spacing = float(nearest(self.pool[:2000], 1)[0].median()) * (min(2000, len(pool)) / len(pool)) ** (1 / manifold.dim)

    @property
    def count(self) -> int:
        """Number of components of M."""
        return int(self.labels.max()) + 1

    def component(self, x: Tensor) -> Tensor:
        """Component (n,) of points (n, D)."""
        if self.count == 1:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return self.labels[nearest(self.pool, 1, x.double())[1][:, 0]]

    def volumes(self) -> Tensor:
        """Volume (c,) of every component, the share of the pool times that of M."""
        return torch.bincount(self.labels, minlength=self.count).double() / len(self.labels) * self.volume

    def uniform(self, labels: Tensor, generator: torch.Generator | None) -> Tensor:
        """A uniform point (n, D) of the component that is named for each row (n,).

        They are points of the pool, moved by Brownian paths of a few spacings, which the uniform law is invariant under.
        """
        if self.fresh is not None and self.count == 1:
            return self.fresh.sample((len(labels),), generator=generator)
        x = self.pool.new_empty(len(labels), self.pool.shape[1])
        for c in range(self.count):
            own, chosen = (self.labels == c).nonzero()[:, 0], labels == c
            x[chosen] = self.pool[own[torch.randint(len(own), (int(chosen.sum()),), generator=generator)]]
        return brownian(self.fast, x, (_STIRRED * self.spacing) ** 2, generator=generator) if len(x) else x


class Base(Protocol):
    """Where a motion on a `ground` begins: `sample`, `within` components, `log_density`."""

    ground: SampledManifold

    def sample(self, n: int, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """n points (n, D) float64 of M, with contexts (n, c) where the base knows of any."""
        ...

    def log_density(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log density (n,) at points (n, D) of M, against its volume."""
        ...

    def within(self, labels: Tensor, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """A point (n, D) of the component that is named for each row (n,)."""
        ...


@final
class ChartMixtureBase:
    """A mixture over charts as a base, in place of the uniform distribution: near to the data already, so that the way is short.

    Its weights per component are those of the mixture.
    """

    measure = "hausdorff"

    def __init__(self, ground: SampledManifold, mixture: ChartMixture) -> None:
        self.ground, self.mixture = ground, mixture

    def sample(self, n: int, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """n points (n, D) float64."""
        return self.mixture.sample((n,), generator=generator).double()

    def within(self, labels: Tensor, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """A point (n, D) of the component that is named for each row (n,), by rejection; raises InvalidInputError where the mixture has none there."""
        x = self.ground.pool.new_full((len(labels), self.ground.pool.shape[1]), torch.nan)
        for _ in range(_TRIES):
            missing = torch.isnan(x[:, 0]).nonzero()[:, 0]
            if not len(missing):
                return x
            drawn = self.sample(len(missing) + 64, generator)
            own = self.ground.component(drawn)
            for c in labels[missing].unique().tolist():
                rows, found = missing[labels[missing] == c], drawn[own == c]
                n = min(len(rows), len(found))
                x[rows[:n]] = found[:n]
        raise InvalidInputError(f"base: the mixture gives no points of component {int(labels[torch.isnan(x[:, 0])][0])} of M; use a uniform base")

    def log_density(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log density (n,) at points (n, D) of M."""
        return self.mixture.log_prob(x).double()


@final
class UniformComponents:
    """The distribution above on a `ground`, with weights (c,) that sum to 1.

    Raises InvalidInputError for weights of another number than the components, negative ones, or components that hold no data.
    """

    measure = "hausdorff"

    def __init__(self, ground: SampledManifold, weights: Tensor) -> None:
        if weights.shape != (ground.count,) or not bool((weights >= 0).all()) or not bool(weights.sum() > 0):
            raise InvalidInputError(f"weights: expected {ground.count} numbers >= 0, one per component of M, found {tuple(weights.shape)}")
        self.ground, self.weights = ground, (weights / weights.sum()).double()

    def sample(self, n: int, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """n points (n, D) float64."""
        return self.within(torch.multinomial(self.weights, n, replacement=True, generator=generator), generator)

    def within(self, labels: Tensor, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """A point (n, D) of the component that is named for each row (n,)."""
        return self.ground.uniform(labels, generator)

    def log_density(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p (n,) at points (n, D) of M."""
        return (self.weights / self.ground.volumes()).log()[self.ground.component(x)]


def sampled_manifold(manifold: Manifold, points: Tensor, *, uniform: Uniform | None = None, generator: torch.Generator | None = None) -> SampledManifold:
    """The ground of M, its pool drawn uniformly; `points` (n, D) are known points that say which components are meant.

    `uniform`: the uniform distribution on M where it is made already. Raises what `Uniform` raises.
    """
    uniform = Uniform(manifold, points=None if manifold.closed_form else points, generator=generator) if uniform is None else uniform
    pool = uniform.sample((POOL.get(manifold.dim, POOL[3]),), generator=generator)
    return SampledManifold(manifold, pool, uniform.volume.value)


def _components(manifold: Manifold, pool: Tensor) -> Tensor:
    betti = manifold.betti(2)
    if betti is not None and betti[0] == 1:
        return torch.zeros(len(pool), dtype=torch.int64)
    return connected_components(pool, manifold)


def data_weights(ground: SampledManifold, points: Tensor) -> Tensor:
    """Share (c,) of points (n, D) on every component."""
    return torch.bincount(ground.component(points), minlength=ground.count).double() / max(len(points), 1)
