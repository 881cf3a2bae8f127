"""What a closed curve or surface is called, read off its Betti numbers over Z/2 and an odd field.

A connected closed 1-manifold is a circle. A connected closed surface is determined by orientability and Euler characteristic: with
k = beta_1(Z/2), orientable (beta_2 = 1 over odd fields) of genus k/2, otherwise the sum of k projective planes. This needs a manifold;
of a mere cloud the Betti numbers only say that it has the homology of such a thing.
Classification of surfaces: Brahana (1921), Systems of circuits on two-dimensional manifolds; Hatcher (2002), Algebraic Topology, section 3.3.
"""

from __future__ import annotations

from topogen.verification.verdict import Betti

__all__ = ["closed_manifold_name"]


def closed_manifold_name(betti: Betti, dim: int | None) -> str | None:
    """The name, with its article, of the connected closed manifold of dimension 1 or 2 with these Betti numbers; None where they do not say."""
    even = _trimmed(betti.get(2))
    odd = next((_trimmed(numbers) for p, numbers in sorted(betti.items()) if p != 2), None)
    if dim == 1:
        return "a circle" if (even or odd) == (1, 1) and (odd or even) == (1, 1) else None
    if dim != 2 or even is None or odd is None or len(even) != 3 or even[0] != 1 or even[2] != 1:
        return None
    k = even[1]
    if odd == even and k % 2 == 0:
        return {0: "a sphere", 1: "a torus"}.get(k // 2, f"an orientable surface of genus {k // 2}")
    if k >= 1 and odd == _trimmed((1, k - 1)):
        return {1: "a projective plane", 2: "a Klein bottle"}.get(k, f"a non-orientable surface of genus {k}")
    return None


def _trimmed(numbers: tuple[int | None, ...] | None) -> tuple[int, ...] | None:
    """Without trailing zeros; None where a number is missing."""
    if numbers is None:
        return None
    known = [b for b in numbers if b is not None]
    if len(known) < len(numbers):
        return None
    while known and known[-1] == 0:
        known.pop()
    return tuple(known)
