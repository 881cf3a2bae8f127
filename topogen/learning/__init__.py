"""How manifolds are learned from points: constraints by denoising, covers by charts; `MANIFOLDS` is the table of their kinds."""

from topogen.learning.base import FittedManifold, ManifoldKind, ManifoldRequest
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.denoising_loss import ConstraintLearner, learn_constraint
from topogen.learning.implicit.fit import Fitted, fit_implicit
from topogen.learning.manifold_table import MANIFOLDS

__all__ = [
    "MANIFOLDS",
    "ConstraintLearner",
    "ConstraintNetwork",
    "Fitted",
    "FittedManifold",
    "ManifoldKind",
    "ManifoldRequest",
    "fit_implicit",
    "learn_constraint",
]
