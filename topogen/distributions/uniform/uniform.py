"""The uniform distribution on a manifold, with respect to its d-dimensional volume (Hausdorff) measure.

    log p(x) = -log vol(M)      at the projection of x

How it is sampled and how the volume is found depends on what M is: shapes know both in closed form; an atlas draws in its charts (`partition_of_unity`); an
implicit manifold of dimension up to 3 is drawn patch by patch over its tangent planes (`patches`), or in R^D with D <= 4 through a tube of known Jacobian
(`tube`), both exact and independent of each other; everything else by tangent random walks from known points and the intrinsic kernel estimate of the volume
(`mcmc`, `kernel_volume`). A manifold in an affine subspace is drawn in its coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, cast, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.mcmc import MarkovChainUniform, markov_chains_from
from topogen.distributions.uniform.partition_of_unity import PartitionOfUnity, partition_of_unity
from topogen.distributions.uniform.patches import Patches, patches_on
from topogen.distributions.uniform.starts import random_starts
from topogen.distributions.uniform.tube import Tube, tube_around
from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.base import Manifold

__all__ = ["Uniform"]

LARGEST_AMBIENT = 4
LARGEST_DIMENSION = 3
METHODS = ("auto", "closed form", "charts", "patches", "tube", "walk")

Sampler = PartitionOfUnity | Patches | Tube | MarkovChainUniform
_SAMPLERS: dict[str, Callable[..., Sampler]] = {"patches": patches_on, "tube": tube_around, "walk": markov_chains_from}


@final
class Uniform(Distribution):
    """Uniform distribution on a manifold M, a `torch.distributions.Distribution` with event shape (D,).

    Args:
        manifold: M; one with a `closed_form` (`sample(n, generator=)` and `volume`) needs nothing else.
        points: known points (n, D) on or near M. The distribution covers the connected components that hold some of them.
            None: the manifold's `known_points`, or for an implicit manifold in R^D with D <= 4 what random starts within three units of its `scale` lead to.
        method: "closed form"; "charts" (atlases); "patches" and "tube" (implicit manifolds; independent of each other, patches are cheaper);
            "walk" (any manifold); or "auto": closed form where there is one, charts for an atlas, then patches for implicit manifolds with D <= 4, then walk.
        generator: seeds the preparation (patches, chains, volume), which runs at the first use; None: torch's global generator.
        seed: the seed itself instead of a generator to draw it from, for a distribution that is to be the same again.
        volume: the volume where it is known already.

    Walk: samples come from tangent walks thinned to twice their autocorrelation time; components are weighted by their estimated volumes, whatever
    the shares of `points` on them. A gate bounds M for all methods. Sampling and log_prob are float64.
    Raises InvalidInputError for an unknown method or one that M does not allow, points of the wrong shape, and points missing where they are required.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(
        self,
        manifold: Manifold,
        *,
        points: Tensor | None = None,
        method: str = "auto",
        generator: torch.Generator | None = None,
        seed: int | None = None,
        volume: Estimate | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.manifold = manifold
        self.method = _choose(manifold.core or manifold, method)
        self._points = _checked(manifold, points, self.method)
        self.seed = int(torch.randint(2**62, (), generator=generator)) if seed is None else seed
        self._prepared: Sampler | None = None
        # the same distribution in the coordinates of the subspace, where M is given in one
        self._core = None if manifold.core is None else Uniform(manifold.core, points=_inside(manifold, points), method=method, seed=self.seed, volume=volume)
        self._volume = volume
        super().__init__(torch.Size(), torch.Size((manifold.ambient_dim,)), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    @property
    def volume(self) -> Estimate:
        """d-dimensional volume of M with its standard error and how it was found; computed once."""
        if self._volume is None:
            self._volume = self._measure()
        return self._volume

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64, uniform on M; `generator` None means torch's global generator."""
        shape = torch.Size(sample_shape)
        if self._core is not None:
            return self.manifold.embedded(self._core.sample(shape, generator))
        with torch.no_grad():
            n = shape.numel()
            points = _closed_sample(self.manifold, n, generator) if self.method == "closed form" else self._sampler().sample(n, generator)
        return points.reshape(*shape, self.manifold.ambient_dim)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log volume (...) at the projections of points (..., D); -inf where there is none on M (beyond a gate, or not converged)."""
        if self._validate_args:
            self._validate_sample(value)
        converged = self.manifold.project(value.detach()).converged
        inside = torch.full(converged.shape, -math.log(self.volume.value), dtype=value.dtype, device=value.device)
        # Along M the density is constant: its derivative is 0, and is there to be asked for.
        return torch.where(converged, inside, -torch.inf) + (0 * value.nan_to_num(posinf=0.0, neginf=0.0)).sum(-1)

    def entropy(self) -> Tensor:
        """log volume, in nats."""
        return torch.tensor(math.log(self.volume.value), dtype=torch.float64)

    def expand(self, batch_shape: torch.Size | list[int] | tuple[int, ...], _instance: Distribution | None = None) -> Distribution:
        """Only the empty batch shape exists: one manifold, one distribution."""
        if torch.Size(batch_shape):
            raise InvalidInputError(f"batch_shape: a uniform distribution on one manifold has batch shape (), found {tuple(batch_shape)}; use sample_shape")
        return self

    def _sampler(self) -> Sampler:
        if self._prepared is None:
            generator = torch.Generator().manual_seed(self.seed)
            if self.method == "charts":
                self._prepared = partition_of_unity(cast(Atlas, self.manifold), generator)
            else:
                points = random_starts(self.manifold, generator) if self._points is None else self._points
                self._prepared = _SAMPLERS[self.method](self.manifold, points, generator)
        return self._prepared

    def _measure(self) -> Estimate:
        if self._core is not None:
            return self._core.volume
        if self.method == "closed form":
            return Estimate(float(self.manifold.volume), 0.0, "closed form")
        with torch.no_grad():
            sampler = self._sampler()
            return sampler.volume() if isinstance(sampler, MarkovChainUniform) else sampler.volume(torch.Generator().manual_seed(self.seed + 1))


def _inside(manifold: Manifold, points: Tensor | None) -> Tensor | None:
    """Points (n, D) in the coordinates of the subspace that M is given in."""
    return None if points is None else manifold.coordinates(points.detach().double())


def _closed_sample(manifold: Manifold, n: int, generator: torch.Generator | None) -> Tensor:
    return cast(Tensor, manifold.sample(n, generator=generator)).double()


def _choose(manifold: Manifold, method: str) -> str:
    if method not in METHODS:
        raise InvalidInputError(f"method: expected one of {', '.join(METHODS)}, found {method!r}")
    if method == "closed form" and not manifold.closed_form:
        raise InvalidInputError(f"method: {manifold!r} has no closed form (sample and volume); use method='auto'")
    if method in ("patches", "tube") and manifold.constraint is None:
        raise InvalidInputError(f"method: {method!r} needs an ImplicitManifold, found {manifold!r}; use method='walk'")
    if method == "charts" and manifold.charts is None:
        raise InvalidInputError(f"method: 'charts' needs an Atlas, found {manifold!r}; use method='auto'")
    if method != "auto":
        return method
    if manifold.closed_form:
        return "closed form"
    if manifold.charts is not None:
        return "charts"
    return "patches" if manifold.constraint is not None and manifold.dim <= LARGEST_DIMENSION else "walk"


def _checked(manifold: Manifold, points: Tensor | None, method: str) -> Tensor | None:
    if points is None:
        manifold = manifold.core or manifold
        small = manifold.constraint is not None and manifold.ambient_dim <= LARGEST_AMBIENT
        if method in ("closed form", "charts") or small or manifold.known_points() is not None:
            return None
        raise InvalidInputError(f"points: needed to sample {manifold!r} in R^{manifold.ambient_dim}; pass known points (n, {manifold.ambient_dim}) near it")
    if not torch.is_tensor(points) or points.ndim != 2 or points.shape[1] != manifold.ambient_dim or not len(points):
        found = tuple(points.shape) if torch.is_tensor(points) else type(points).__name__
        raise InvalidInputError(f"points: expected a tensor (n, {manifold.ambient_dim}) with n >= 1, found {found}")
    return points.detach().double()
