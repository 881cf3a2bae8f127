"""How manifolds are learned from points: constraints by denoising, covers by charts."""

from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.denoising_loss import ConstraintLearner, learn_constraint
from topogen.learning.implicit.fit import Fitted, fit_implicit

__all__ = ["ConstraintLearner", "ConstraintNetwork", "Fitted", "fit_implicit", "learn_constraint"]
