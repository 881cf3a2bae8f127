"""How things are learned: one training loop for all, and the learner of constraints."""

from topogen.learning.carrying import Sizes, carried_settings
from topogen.learning.chart_density import FittedCharts, fit_charts, fit_fine_charts
from topogen.learning.constraint import ConstraintLearner, learn_constraint
from topogen.learning.diffusion import fit_diffusion
from topogen.learning.field_training import FittedField
from topogen.learning.fitting import Fitted, fit_implicit
from topogen.learning.flow_matching import fit_flow
from topogen.learning.network import ConstraintNetwork
from topogen.learning.trainer import Callback, EarlyStopping, Learner, Settings, TrainingReport, TrainingState, train

__all__ = [
    "Callback",
    "ConstraintLearner",
    "ConstraintNetwork",
    "EarlyStopping",
    "Fitted",
    "FittedCharts",
    "FittedField",
    "Learner",
    "Settings",
    "Sizes",
    "TrainingReport",
    "TrainingState",
    "carried_settings",
    "fit_charts",
    "fit_diffusion",
    "fit_fine_charts",
    "fit_flow",
    "fit_implicit",
    "learn_constraint",
    "train",
]
