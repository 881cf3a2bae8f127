"""A number with its uncertainty and where it comes from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """`value` with its `standard_error` (0 for a closed form), and `method`: how it was found and what is to be said of it."""

    value: float
    standard_error: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The three as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.6g} +- {self.standard_error:.2g} ({self.method})"
