"""Atlases in the table of manifolds: a learned zero set covered by charts. A file holds the charts and the sheet they lie on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from topogen.entry_tables import Table
from topogen.learning.atlas.fit import SAMPLES, learn_atlas
from topogen.learning.base import FittedManifold, ManifoldKind, ManifoldRequest, describe_inner
from topogen.learning.implicit.choice import fit_constraint
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.saved_atlas import build_cover, describe_cover
from topogen.saving import Saved, part

__all__ = ["atlas_entry"]

NAME = "atlas"


def atlas_entry(kinds: Callable[[], Table[ManifoldKind]]) -> ManifoldKind:
    """The entry; `kinds` gives the table that the sheet of an atlas is looked up in."""
    return ManifoldKind(
        NAME,
        f"the same zero set covered by charts, with coordinates and certificates, dimensions 1 to {max(SAMPLES)}",
        lambda thing: isinstance(thing, Atlas),
        lambda atlas: _describe(atlas, kinds()),
        lambda config, tensors: _build(config, tensors, kinds()),
        _fit,
        highest_dim=max(SAMPLES),
    )


def _fit(request: ManifoldRequest) -> FittedManifold:
    sheet = fit_constraint(request)
    found = learn_atlas(sheet.manifold, sheet.anchors, generator=request.generator)
    return FittedManifold(found.atlas, sheet.anchors, (*sheet.notes, *found.notes), sheet.training)


def _describe(atlas: Atlas, kinds: Table[ManifoldKind]) -> Saved:
    config, tensors = describe_cover(atlas)
    if atlas.sheet is not None:
        config["sheet"], own = describe_inner(kinds, atlas.sheet, f"the sheet of the atlas, {atlas.sheet!r},")
        tensors |= {f"sheet.{name}": value for name, value in own.items()}
    return config, tensors


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], kinds: Table[ManifoldKind]) -> Atlas:
    sheet = None
    if config["sheet"] is not None:
        kind = kinds[config["sheet"]["kind"]]
        if kind.name == NAME:
            raise ValueError("the sheet of an atlas is an atlas")
        sheet = kind.build(config["sheet"]["config"], part(tensors, "sheet."))
    return build_cover(config, tensors, sheet)
