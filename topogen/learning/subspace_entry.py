"""Manifolds in an affine subspace in the table of manifolds. A file holds the subspace and the manifold in its coordinates, of any kind that files hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from topogen.entry_tables import Table
from topogen.learning.base import ManifoldKind, describe_inner
from topogen.manifolds.in_subspace import InSubspace
from topogen.saving import Saved, part

__all__ = ["subspace_entry"]

NAME = "subspace"
_PREFIX = "core."


def subspace_entry(kinds: Callable[[], Table[ManifoldKind]]) -> ManifoldKind:
    """The entry; `kinds` gives the table that the manifold in the subspace is looked up in."""
    return ManifoldKind(
        NAME,
        "a manifold in the coordinates of an affine subspace",
        lambda thing: isinstance(thing, InSubspace),
        lambda manifold: _describe(manifold, kinds()),
        lambda config, tensors: _build(config, tensors, kinds()),
    )


def _describe(manifold: InSubspace, kinds: Table[ManifoldKind]) -> Saved:
    core, tensors = describe_inner(kinds, manifold.core, f"{manifold.core!r} in the subspace")
    own = {"centre": manifold.get_buffer("centre"), "basis": manifold.get_buffer("basis")}
    return {"core": core}, {**own, **{_PREFIX + name: value for name, value in tensors.items()}}


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], kinds: Table[ManifoldKind]) -> InSubspace:
    kind = kinds[config["core"]["kind"]]
    if kind.name == NAME:
        raise ValueError("the manifold in a subspace lies in a subspace")
    return InSubspace(kind.build(config["core"]["config"], part(tensors, _PREFIX)), tensors["centre"], tensors["basis"])
