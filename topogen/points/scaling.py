"""One isotropic scale inside, data units outside.

With centre c = mean x_i and scale a = sqrt(mean |x_i - c|^2), forward(x) = (x - c) / a: a similarity, so that distances keep their
ratios, topology and curvature their meaning, and a density in data units is the standardised one shifted by -d log a.
Whitening is deliberately not offered: it divides by the thickness of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.points.checking import as_points

__all__ = ["Similarity", "standardise"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """The map x -> (x - centre) / scale, `centre` (D,) float64 and `scale` > 0 in data units."""

    centre: Tensor
    scale: float

    def forward(self, x: Tensor) -> Tensor:
        """Data units (..., D) to standardised ones; computed in float64, returned in the dtype and on the device of x."""
        return ((x.to(torch.float64) - self.centre.to(x.device)) / self.scale).to(x.dtype)

    def inverse(self, x: Tensor) -> Tensor:
        """Standardised units (..., D) to data units; computed in float64, returned in the dtype and on the device of x."""
        return (x.to(torch.float64) * self.scale + self.centre.to(x.device)).to(x.dtype)


def standardise(points: Any) -> tuple[Tensor, Similarity]:
    """The cloud (n, D) moved to mean zero and root-mean-square norm one, float64, and the similarity that did it.

    Raises InvalidInputError for what `as_points` refuses and for fewer than two distinct points.

    >>> inside, similarity = standardise([[0.0, 5.0], [4.0, 5.0]])
    >>> inside.tolist(), similarity.scale, similarity.centre.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], 2.0, [2.0, 5.0])
    """
    cloud = as_points(points)
    if bool((cloud == cloud[0]).all()):
        raise InvalidInputError(f"points: found {len(cloud)} points but only 1 distinct, need at least 2 distinct points to have a scale")
    similarity = _similarity(cloud)
    return similarity.forward(cloud), similarity


def _similarity(cloud: Tensor) -> Similarity:
    # Squares of 1e-200 and 1e200 leave float64: everything is measured in units of the largest entry, then of the largest offset.
    unit = float(cloud.abs().max())
    scaled = cloud / unit
    centre = scaled.mean(0)
    centre = centre + (scaled - centre).mean(0)
    offsets = scaled - centre
    largest = float(offsets.abs().max())
    scale = float((offsets / largest).square().sum(1).mean().sqrt()) * largest * unit if largest else 0.0
    if not 0.0 < scale < float("inf"):
        raise InvalidInputError(f"points: the spread {scale:g} around entries of size {unit:g} is not representable; subtract an offset or change the units")
    return Similarity(centre * unit, scale)
