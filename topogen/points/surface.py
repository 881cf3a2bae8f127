"""Area-uniform points on a triangle mesh.

A face is drawn with probability area / total area by inverting the cumulative areas, then a point of it by
x = (1 - s) A + s (1 - t) B + s t C with s = sqrt(u), u and t uniform: Osada, Funkhouser, Chazelle, Dobkin (2002), Shape distributions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import FileFormatError

__all__ = ["face_areas", "sample_surface"]

_BLOCK = 1 << 14


def sample_surface(vertices: Tensor, faces: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n independent points (n, 3) float64, uniform by area on the triangles `faces` (m, 3) int64 over `vertices` (v, 3) float64.

    Raises FileFormatError where the total area is zero.
    """
    cumulative = face_areas(vertices, faces).cumsum(0)
    if not bool(cumulative[-1] > 0):
        raise FileFormatError(f"all {len(faces)} faces have zero area; take the vertices instead (vertices=True)")
    device = generator.device if generator is not None else torch.device("cpu")
    uniform = torch.rand((n, 3), dtype=torch.float64, generator=generator, device=device).cpu()
    # right=True skips faces of zero area: their cumulative value equals their predecessor's.
    face = torch.searchsorted(cumulative, uniform[:, 0].contiguous() * cumulative[-1], right=True).clamp_(max=len(faces) - 1)
    a, b, c = (vertices[corner] for corner in faces[face].unbind(1))
    s, t = uniform[:, 1:2].sqrt(), uniform[:, 2:3]
    return (1 - s) * a + s * (1 - t) * b + s * t * c


def face_areas(vertices: Tensor, faces: Tensor) -> Tensor:
    """Relative areas (m,) of triangles (m, 3): in units of the squared largest extent of the mesh, so that no magnitude overflows."""
    low, high = vertices.amin(0), vertices.amax(0)
    extent = (high - low).amax().clamp(min=torch.finfo(torch.float64).tiny)
    return torch.cat([_areas((vertices[block] - low) / extent) for block in torch.split(faces, _BLOCK)])


def _areas(corners: Tensor) -> Tensor:
    a, b, c = corners.unbind(1)
    areas: Tensor = torch.linalg.cross(b - a, c - a).norm(dim=1) / 2
    return areas
