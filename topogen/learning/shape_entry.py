"""Shapes of known topology in the table of manifolds. A file holds the name of a shape with its default radii; they are given, never fitted."""

from __future__ import annotations

from typing import Any

from topogen.learning.base import ManifoldKind
from topogen.manifolds.shapes import SHAPES, get
from topogen.manifolds.shapes.base import Shape
from topogen.saving import Saved

__all__ = ["ENTRY"]


def _describe(shape: Shape) -> Saved:
    return {"name": _name(shape)}, {}


def _name(shape: object) -> str | None:
    """Name of a shape with default radii, the only ones a file can hold today."""
    return next((name for name in SHAPES if _facts(get(name)) == _facts(shape)), None)


def _facts(shape: object) -> tuple[type, dict[str, Any]]:
    """Class and plain attributes, radii among them (a repr does not show these); what the class defines, cached values, is left out."""
    return type(shape), {key: value for key, value in vars(shape).items() if not hasattr(type(shape), key) and isinstance(value, (int, float, str))}


ENTRY = ManifoldKind(
    "shape",
    "a shape of known topology",
    lambda thing: isinstance(thing, Shape) and _name(thing) is not None,
    _describe,
    lambda config, tensors: get(config["name"]),
)
