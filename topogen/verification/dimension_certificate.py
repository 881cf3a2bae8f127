"""Whether the zero set of a constraint has the dimension it is said to have, read off its spectrum at samples.

With singular values sigma_1 >= sigma_2 >= ... of the Jacobian and r = D - d, the rank is clearly r where the gap sigma_r / sigma_(r+1) is
large, and the tangents of the truncated Jacobian are those of the zero set where the tilt between the two is small. The certificate:

    gap >= 5  and  tilt <= 0.5 degrees  on 99 % of M,

a statement about a share of M, which samples tell with a confidence (`shares`): it holds where the lower bound of the share is 99 % or more, fails where the
upper bound is less, and is not decided between. 299 samples without a fault are the fewest that can show it at 95 %. It says that M is a d-manifold there,
without which Betti numbers name no surface.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds import Manifold
from topogen.verification.claims import make_claim
from topogen.verification.distances import quantile
from topogen.verification.shares import exceeds, share_bounds
from topogen.verification.verdict import Claim

__all__ = ["DimensionCertificate", "dimension_certificate"]


@dataclass(frozen=True)
class DimensionCertificate:
    """Spectrum of a constraint at `count` points of its zero set.

    `gap_quantile`: the gap that a share `share` of the points reaches (infinite for regular constraints); `tilt_quantile`: the tilt (degrees) that this
    share does not exceed; `kept_min`: smallest kept singular value; `kept_residual`: largest |s| (data units);
    `full_residual`: |F| not exceeded by the share; `good`: how many points have gap and tilt within `min_gap` and `max_tilt`; `holds`: whether at least
    `share` of M has, with 95 % confidence for independent uniform points; None where so many points do not tell.
    """

    dim: int
    count: int
    gap_quantile: float
    tilt_quantile: float
    kept_min: float
    kept_residual: float
    full_residual: float
    good: int
    holds: bool | None
    min_gap: float
    max_tilt: float
    share: float

    def to_claim(self) -> Claim:
        """The certificate as a claim beside the verdict."""
        wanted = f"gap of the spectrum >= {self.min_gap:g} and tangent tilt <= {self.max_tilt:g} degrees"
        text = f"dimension {self.dim}: {wanted} on {self.share:.0%} of the manifold"
        low, high = share_bounds(self.good, self.count)
        seen = f"{self.good} of {self.count} samples, hence on {low:.2%} to {high:.2%} (95 % each)"
        bound = f"{seen}; gap {self.gap_quantile:.3g}, tilt {self.tilt_quantile:.2g} degrees there; smallest kept singular value {self.kept_min:.2g}"
        return make_claim("dimension", text, self.holds, bound, "samples are independent and uniform", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form apart from an infinite gap."""
        return asdict(self)


def dimension_certificate(manifold: Manifold, points: Tensor, *, min_gap: float = 5.0, max_tilt: float = 0.5, share: float = 0.99) -> DimensionCertificate:
    """The dimension certificate of an implicit manifold at points (n, D) on it.

    Raises NotSupportedError for a manifold without a constraint, InvalidInputError without points.
    """
    if manifold.constraint is None:
        kind = type(manifold).__name__
        raise NotSupportedError(
            f"dimension_certificate: {kind} has no constraint whose spectrum could be read; its dimension is {manifold.dim} by construction"
        )
    if not len(points):
        raise InvalidInputError("points: the certificate needs at least one point on the manifold, found none")
    frame = manifold.frame(points)
    gap = _gap(frame.values, manifold.codim)
    tilt = manifold.tilt(points)
    low, high = -quantile(-gap, share), quantile(tilt, share)
    kept = float(frame.values[:, manifold.codim - 1].min())
    good = int(((gap >= min_gap) & (tilt <= max_tilt)).sum())
    full, residual = quantile(frame.value.norm(dim=-1), share), float(manifold.kept_residual(points).max())
    return DimensionCertificate(manifold.dim, len(points), low, high, kept, residual, full, good, exceeds(good, len(points), share), min_gap, max_tilt, share)


def _gap(values: Tensor, codim: int) -> Tensor:
    if values.shape[-1] == codim:
        return values.new_full(values.shape[:-1], torch.inf)
    return values[:, codim - 1] / values[:, codim].clamp_min(torch.finfo(values.dtype).tiny)
