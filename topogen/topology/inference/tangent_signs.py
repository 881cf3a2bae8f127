"""Whether the set behind a cloud is orientable, by the signs of its tangents along short edges: what duality has to know and H_1 often does not tell.

Let L be points with every point of M within eps of L, and R the reach of M. For x, y in L at distance c <= 2 eps the tangent spaces make an angle of at most
2 arcsin(c / (2 R)), below 90 degrees once R > sqrt(2) eps, so det(T_x^t T_y) has a sign, that of the transition from x to y. The balls of radius eps cover
M, so every class of H_1(M) runs along such edges, and

    M is orientable  iff  signs s_x can be given to L with s_x s_y = sign det(T_x^t T_y) along all of them,

iff the double cover of the graph falls into twice as many parts. T_x is fitted to the nearest points; a wrong sign makes an odd cycle, so errors say "not
orientable" and never the reverse.
Milnor, Stasheff (1974), Characteristic classes, section 4; Singer, Wu (2011), Orientability and diffusion maps.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest

__all__ = ["agree_in_sign"]

LEAST = 0.1
NEAREST = 10
CHUNK = 100_000


def agree_in_sign(points: Tensor, landmarks: Tensor, dim: int, eps: float) -> tuple[bool, int, float]:
    """Whether signs can be given to the tangents at landmarks (m, D) of a cloud (n, D); the number of edges up to 2 `eps`, and the least |det| along them.

    Edges with |det| below .1 have no sign and make the answer False.
    """
    rows = nearest(points, NEAREST * (dim + 1), landmarks)[1]
    patch = points[rows]
    tangent = torch.linalg.svd(patch - patch.mean(1, keepdim=True), full_matrices=False)[2][:, :dim]
    edges = torch.cat([_edges(landmarks, i, 2 * eps) for i in range(0, len(landmarks), 1000)])
    signs = torch.cat([torch.linalg.det(tangent[a] @ tangent[b].mT) for a, b in (part.T for part in edges.split(CHUNK))]) if len(edges) else torch.ones(0)
    least = float(signs.abs().min()) if len(signs) else 0.0
    return least >= LEAST and _splits(edges, signs > 0, len(landmarks)), len(edges), least


def _edges(landmarks: Tensor, first: int, longest: float) -> Tensor:
    """Pairs (e, 2) of rows a < b no farther apart than `longest`, a among the thousand from `first` on."""
    distance = torch.cdist(landmarks[first : first + 1000], landmarks)
    a, b = (distance <= longest).nonzero(as_tuple=True)
    return torch.stack([a + first, b], 1)[a + first < b]


def _splits(edges: Tensor, same: Tensor, count: int) -> bool:
    """Whether the double cover of the signed graph has two parts over each part of the graph."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = edges.T.numpy()
    other = b + np.where(same.numpy(), 0, count)
    over = np.concatenate([a, a + count]), np.concatenate([other, (other + count) % (2 * count)])
    parts, _ = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    double, _ = connected_components(coo_array((np.ones(2 * len(a)), over), shape=(2 * count, 2 * count)), directed=False)
    return bool(double == 2 * parts)
