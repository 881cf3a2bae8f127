"""A density of R^D from a density on a manifold M and normal noise: points of M moved along their normal spaces.

    x = m + e,     m ~ p_M,     e ~ N(0, sigma^2) in the normal space of M at m, D - d coordinates

Inside the tube where every x has one nearest point m = pi(x), dx = det(1 - <e, II>) dm de with the second fundamental form II, so against Lebesgue measure

    p(x) = p_M(pi(x)) N(x - pi(x); 0, sigma^2) / det(1 - <x - pi(x), II>) .

This is another kind of density than the p_M it is made of: against another measure, in other units, with values that grow without bound as sigma falls. The two
are never to be compared or mixed; `measure` tells them apart and `same_measure` refuses.
Weyl (1939), On the volume of tubes; Horvat, Pfister (2021), Denoising normalizing flow.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.curvature import second_fundamental_form
from topogen.geometry.derivatives import NO_GRADIENT, underived
from topogen.manifolds.base import Manifold

__all__ = ["Thickened", "measure_of", "same_measure"]

HAUSDORFF, LEBESGUE = "hausdorff", "lebesgue"
_ALIGNED = 1e-8
_STEP = 0.05  # of sigma: a projection is exact to 1e-9, and what second differences make of that must stay small beside sigma times curvature
_ROUNDS = 60


@final
class Thickened(Distribution):
    """p above, a `torch.distributions.Distribution` with event shape (D,); measure: Lebesgue measure of R^D.

    Args:
        distribution: p_M on a manifold (an attribute `manifold`), against the volume (Hausdorff) measure of M.
        scale: sigma > 0, data units; well below the reach of M. Noise longer than the reach lands where another point of M is nearest or none is: that mass,
            P(|e| > reach) at most, is missing from the integral of p.

    Raises InvalidInputError for a distribution that is not on a manifold or already thickened, and for a scale that is not positive.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = LEBESGUE

    def __init__(self, distribution: Any, scale: float) -> None:
        if measure_of(distribution) != HAUSDORFF or not isinstance(getattr(distribution, "manifold", None), Manifold):
            raise InvalidInputError(f"distribution: expected one on a manifold, such as Uniform(manifold), found {type(distribution).__name__}")
        if not 0 < float(scale) < math.inf:
            raise InvalidInputError(f"scale: expected a standard deviation > 0 in data units, found {scale}")
        self.distribution, self.scale = distribution, float(scale)
        super().__init__(torch.Size(), torch.Size((distribution.manifold.ambient_dim,)), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors."""
        return constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        """log p (...) at points (..., D); -inf where no nearest point of M is found or M's centres of curvature are passed."""
        x = value.detach().double().reshape(-1, self.event_shape[0])
        foot, found = self._feet(x)
        result = torch.full((len(x),), -torch.inf, dtype=torch.float64)
        if bool(found.any()):
            result[found] = self._log_density(x[found], foot[found])
        return underived(result.reshape(value.shape[:-1]).to(value.dtype), value, NO_GRADIENT)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64; `generator` None means torch's global generator."""
        shape = torch.Size(sample_shape)
        m = self.distribution.sample((shape.numel(),), generator=generator).double()
        normal = self.distribution.manifold.normal_basis(m)
        e = self.scale * torch.randn(len(m), normal.shape[-1], 1, dtype=torch.float64, generator=generator)
        return (m + (normal @ e).squeeze(-1)).reshape(*shape, m.shape[-1])

    def _log_density(self, x: Tensor, foot: Tensor) -> Tensor:
        manifold = self.distribution.manifold
        offset = x - foot
        codim = x.shape[1] - manifold.dim
        noise = -offset.square().sum(-1) / (2 * self.scale**2) - codim * (math.log(self.scale) + math.log(2 * math.pi) / 2)
        form = second_fundamental_form(_strict(manifold), manifold.tangent_basis, foot, _STEP * self.scale)
        shape = (form * offset[:, :, None, None]).sum(1)
        room = torch.linalg.eigvalsh(torch.eye(manifold.dim, dtype=x.dtype) - shape)
        inside = (room > 0).all(-1)
        tube = room.clamp_min(1e-300).log().sum(-1)
        return torch.where(inside, self.distribution.log_prob(foot).double() + noise - tube, -torch.inf)

    def _feet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points (n, D) of M and which were found: a projection that is not orthogonal is led on until x - m is normal to M."""
        manifold = self.distribution.manifold
        found = manifold.project(x)
        foot, good = found.points, found.converged
        for _ in range(_ROUNDS):
            along = manifold.proju(foot[good], x[good] - foot[good])
            if not bool((along.norm(dim=-1) > _ALIGNED * self.scale).any()):
                break
            moved = manifold.project(foot[good] + along)
            foot, good = foot.masked_scatter(good.unsqueeze(-1), moved.points), good.masked_scatter(good, moved.converged)
        return foot, good


def measure_of(distribution: Any) -> str:
    """ "hausdorff" for densities on a manifold, "lebesgue" for densities of R^D: the attribute `measure`, "hausdorff" where there is none."""
    return str(getattr(distribution, "measure", HAUSDORFF))


def same_measure(*distributions: Any) -> None:
    """Raise InvalidInputError unless the log densities of all distributions may be compared or added: one measure, and on manifolds one dimension."""
    kinds = {(measure_of(each), getattr(each, "manifold", each).dim if measure_of(each) == HAUSDORFF else None) for each in distributions}
    if len(kinds) > 1:
        named = ", ".join(f"{measure} measure" + ("" if dim is None else f" of dimension {dim}") for measure, dim in sorted(kinds, key=str))
        raise InvalidInputError(f"distributions: densities against different measures ({named}) cannot be compared or added; thicken all of them or none")


def _strict(manifold: Manifold) -> Any:
    def project(x: Tensor) -> Tensor:
        found = manifold.project(x)
        if not bool(found.converged.all()):
            raise ProjectionError(f"log_prob: {int((~found.converged).sum())} points right beside {manifold!r} could not be projected for its curvature")
        return found.points

    return project
