"""topogen: topology-aware manifold modelling with implicit and multi-chart manifolds.

    points -> inspect -> manifold -> distribution -> samples -> verify

Names are imported when they are first used, so `import topogen` costs little beyond torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from topogen._version import __version__

if TYPE_CHECKING:
    from topogen import distributions, errors, geometry, learning, manifolds, points, sampling, testing, topology, training
    from topogen.inspection import Inspection, inspect
    from topogen.model import Model, fit, load
    from topogen.verification import Certificate, Result, Verdict, certify, verify

__all__ = [
    "Certificate",
    "Inspection",
    "Model",
    "Result",
    "Verdict",
    "__version__",
    "certify",
    "distributions",
    "errors",
    "fit",
    "geometry",
    "inspect",
    "learning",
    "load",
    "manifolds",
    "points",
    "sampling",
    "testing",
    "topology",
    "training",
    "verify",
]

_HOMES = {
    "Inspection": "inspection",
    "inspect": "inspection",
    "Model": "model",
    "fit": "model",
    "load": "model",
    "Certificate": "verification",
    "certify": "verification",
    "Result": "verification",
    "Verdict": "verification",
    "verify": "verification",
}
_ROOMS = frozenset({"distributions", "errors", "geometry", "learning", "manifolds", "points", "sampling", "testing", "topology", "training"})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"topogen.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"topogen.{name}")
    raise AttributeError(f"module 'topogen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
