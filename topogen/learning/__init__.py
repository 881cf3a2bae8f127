"""How things are learned: one training loop for all, and the learner of constraints."""

from topogen.learning.chart_density import FittedCharts, fit_charts, fit_fine_charts
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
    "FittedCharts",
    "Learner",
    "Settings",
    "TrainingReport",
    "TrainingState",
    "fit_charts",
    "fit_fine_charts",
    "fit_implicit",
    "learn_constraint",
    "train",
]
