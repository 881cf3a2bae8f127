"""Every exception of topogen, in one file.

Each is a `TopogenError` and also the builtin kind that a caller who does not know topogen would catch.
A message names the argument, what was found there and the way out. `exit_code` is what the command returns for it.
"""

__all__ = [
    "BudgetExceeded",
    "CheckpointError",
    "DivergenceError",
    "EngineError",
    "FileFormatError",
    "InvalidInputError",
    "MissingDependencyError",
    "NormalizerError",
    "NotSupportedError",
    "ProjectionError",
    "TopogenError",
    "TopologyError",
]


class TopogenError(Exception):
    """Base of every exception that topogen raises on purpose."""

    exit_code = 3


class InvalidInputError(TopogenError, ValueError):
    """An argument or a cloud cannot be used: NaN, wrong shape or dtype, too few points, an unknown name."""


class FileFormatError(TopogenError, ValueError):
    """A file cannot be read or written: unknown or refused format, corrupt or lying header, too large."""


class CheckpointError(TopogenError, ValueError):
    """A saved model or checkpoint is torn, altered, of an unknown schema or of an unregistered kind."""


class BudgetExceeded(TopogenError, MemoryError):
    """The predicted cost of a computation is above its budget; raised before the computation starts."""

    exit_code = 4


class ProjectionError(TopogenError, ArithmeticError):
    """Points could not be brought onto a manifold where the strict face (`projx`) was asked for."""

    exit_code = 4


class DivergenceError(TopogenError, ArithmeticError):
    """A training run met a loss that is not finite and could not be rescued by going back; names the step."""

    exit_code = 4


class EngineError(TopogenError, RuntimeError):
    """Native code behind a wall crashed or failed; the message says how."""

    exit_code = 4


class TopologyError(TopogenError, ArithmeticError):
    """Samples of a model under training contradict the topology that was expected of it; names the step and the numbers."""

    exit_code = 1


class NormalizerError(TopogenError, ArithmeticError):
    """A normaliser cannot be believed: too few of the points it was estimated from carry its weight."""

    exit_code = 4


class NotSupportedError(TopogenError, NotImplementedError):
    """The object does not offer what was asked; the message names the alternative."""

    exit_code = 2


class MissingDependencyError(TopogenError, ImportError):
    """An optional library is needed for this call; the message names the extra that installs it."""

    exit_code = 2
