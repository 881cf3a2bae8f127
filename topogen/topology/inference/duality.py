"""Poincare duality: the upper Betti numbers of a closed d-manifold from the lower ones.

    beta_(d-k)(Z/2) = beta_k(Z/2)   always;        beta_(d-k)(Z/p) = beta_k(Z/p)   if M is orientable.

M is orientable if H_1(Z/2) = 0, since its first Stiefel-Whitney class lies in H^1(M; Z/2). In odd dimension chi = 0, and a
component that is not orientable has beta_d(Z/p) = 0, p odd, hence in dimension 3 beta_2 = beta_1 - 1 >= 0: beta_1(Z/p) = 0 shows that every component is
orientable. A surface's top number over Z/p follows from chi(Z/2) = chi(Z/p). Hatcher (2002), Algebraic Topology, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Decided", "complete", "contradiction", "euler", "orientability"]

Decided = dict[int, tuple[int | None, ...]]


def complete(decided: Mapping[int, tuple[int | None, ...]], dim: int, orientable: bool | None) -> tuple[Decided, list[str]]:
    """Fill degrees up to d of a closed d-manifold by duality where they are None or missing; returns them and what was used.

    `decided[p]` holds Betti numbers from degree 0 over Z/p. Numbers that are there are kept.
    """
    filled = {p: (*betti, *(None,) * (dim + 1 - len(betti)))[: dim + 1] for p, betti in decided.items()}
    known, why = orientability(filled, dim, orientable)
    notes = []
    for p in filled:
        if None not in filled[p]:
            continue
        before = filled[p]
        if p == 2 or known:
            filled[p] = _mirrored(before, dim)
            reason = "over Z/2" if p == 2 else f"M orientable: {why}"
        elif dim == 2:
            filled[p], reason = _by_euler(before, filled.get(2)), "Euler characteristic equal to that over Z/2"
        if filled[p] != before:
            degrees = [k for k in range(dim + 1) if before[k] != filled[p][k]]
            notes.append(f"Z/{p}: H_{', H_'.join(map(str, degrees))} by Poincare duality ({reason})")
        if None in filled[p] and p != 2 and not known:
            notes.append(f"Z/{p}: {_without_duality(known)}")
    return filled, notes


def orientability(decided: Mapping[int, tuple[int | None, ...]], dim: int, given: bool | None = None) -> tuple[bool | None, str]:
    """What Betti numbers tell about the orientability of a closed d-manifold: (answer or None, why)."""
    if given is not None:
        return given, "given"
    even = decided.get(2, ())
    odd = next(((p, b) for p, b in sorted(decided.items()) if p != 2), None)
    if len(even) > 1 and even[1] == 0:
        return True, "H_1(Z/2) = 0"
    if odd is None:
        return None, ""
    p, betti = odd
    if len(betti) > dim and None not in (betti[dim], betti[0]):
        return betti[dim] == betti[0], f"H_{dim}(Z/{p}) has rank {betti[dim]}"
    if dim == 3 and betti[1] == 0:
        return True, f"H_1(Z/{p}) = 0 and chi = 0"
    if dim == 2 and None not in (*betti[:2], *even[:2]):
        top = _by_euler(betti, even)[2]
        return (None, "") if top is None else (top == betti[0], f"chi over Z/2 and Z/{p}")
    return None, ""


def contradiction(decided: Mapping[int, tuple[int | None, ...]], dim: int | None, closed: bool | None, *, all_degrees: bool) -> str:
    """A law that fully or partly decided Betti numbers break, in words; empty where none is broken.

    `all_degrees`: no homology lies above the degrees given, so that the Euler characteristic is theirs.
    """
    for p, betti in decided.items():
        if dim is None or not closed or len(betti) <= dim:
            continue
        mirrored = betti[dim::-1]
        wrong = [k for k in range(dim + 1) if p == 2 and None not in (betti[k], mirrored[k]) and betti[k] != mirrored[k]]
        if wrong:
            k = wrong[0]
            return f"a closed set of dimension {dim} has equal H_{k} and H_{dim - k} over Z/2, found {betti[k]} and {betti[dim - k]}"
    euler_numbers = {p: euler(betti) for p, betti in decided.items()}
    values = {value for value in euler_numbers.values() if value is not None}
    if all_degrees and len(values) > 1:
        return f"the Euler characteristic cannot depend on the field, found {euler_numbers}"
    return _torsion(decided)


def euler(betti: tuple[int | None, ...]) -> int | None:
    """Euler characteristic of Betti numbers, None where one is undecided."""
    total = 0
    for k, b in enumerate(betti):
        if b is None:
            return None
        total += (-1) ** k * b
    return total


def _mirrored(betti: tuple[int | None, ...], dim: int) -> tuple[int | None, ...]:
    return tuple(b if b is not None else betti[dim - k] for k, b in enumerate(betti))


def _without_duality(known: bool | None) -> str:
    if known is None:
        return "duality needs to know whether M is orientable, and H_1 does not tell; pass orientable="
    return "duality holds over Z/2 only, M is not orientable"


def _by_euler(betti: tuple[int | None, ...], even: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
    """Top number of a closed surface over Z/p: beta_2 = chi - beta_0 + beta_1, chi = 2 beta_0 - beta_1 over Z/2."""
    if even is None or None in (*even[:2], *betti[:2]):
        return betti
    top = 2 * even[0] - even[1] - betti[0] + betti[1]  # type: ignore[operator]
    return (*betti[:2], top) if top >= 0 and betti[2] is None else betti


def _torsion(decided: Mapping[int, tuple[int | None, ...]]) -> str:
    components = {betti[0] for betti in decided.values() if betti and betti[0] is not None}
    return f"the number of components cannot depend on the field, found {sorted(components)}" if len(components) > 1 else ""
