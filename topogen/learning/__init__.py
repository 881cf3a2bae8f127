"""How things are learned: one training loop for all, and the learner of constraints."""

from topogen.learning.constraint import ConstraintLearner, learn_constraint
from topogen.learning.fitting import Fitted, fit_implicit
from topogen.learning.network import ConstraintNetwork
from topogen.learning.trainer import Callback, EarlyStopping, Learner, Settings, TrainingReport, TrainingState, train

__all__ = [
    "Callback",
    "ConstraintLearner",
    "ConstraintNetwork",
    "EarlyStopping",
    "Fitted",
    "Learner",
    "Settings",
    "TrainingReport",
    "TrainingState",
    "fit_implicit",
    "learn_constraint",
    "train",
]
