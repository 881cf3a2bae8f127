"""Training of anything that has a loss: the loop, its settings and callbacks, checkpoints, averaging. It knows nothing of manifolds."""

from topogen.training.soap import Soap
from topogen.training.trainer import Callback, EarlyStopping, Learner, Settings, TrainingReport, TrainingState, train

__all__ = ["Callback", "EarlyStopping", "Learner", "Settings", "Soap", "TrainingReport", "TrainingState", "train"]
