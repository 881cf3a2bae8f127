"""Where a run keeps its positions: in memory, or in a memory-mapped npy file that a long run fills and that never holds more than was sampled."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = ["Trace", "check_free"]


@final
class Trace:
    """Positions of n_chains chains at up to `n_kept` times, like `start` (n_chains, D), with potentials and energies.

    With a `file` (.npy) positions are written to `file` + ".part" as they come and moved to `file` by `finish`, cut to what was kept.
    Raises InvalidInputError as `check_free` does.
    """

    def __init__(self, n_kept: int, start: Tensor, file: Path | None) -> None:
        self.file = file
        self._count = 0
        self._map, self._points = _storage((n_kept, *start.shape), start, file)
        self._potentials = start.new_empty(n_kept, len(start))
        self._energies: list[Tensor] = []

    def keep(self, points: Tensor, potential: Tensor, energy: Tensor | None) -> None:
        """One time."""
        self._points[self._count] = points
        self._potentials[self._count] = potential
        if energy is not None:
            self._energies.append(energy)
        self._count += 1

    def finish(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Positions (kept, n_chains, D), potentials (kept, n_chains) and energies, as far as they were kept."""
        energies = torch.stack(self._energies[: self._count]) if self._energies else None
        points = self._points[: self._count] if self.file is None else self._settle(self.file)
        return points, self._potentials[: self._count], energies

    def _settle(self, file: Path) -> Tensor:
        import numpy as np

        part = _part(file)
        if self._count < len(self._points):
            shorter = file.with_name(file.name + ".cut")
            copy = np.lib.format.open_memmap(shorter, "w+", self._map.dtype, (self._count, *self._points.shape[1:]))
            copy[:] = self._map[: self._count]
            copy.flush()
            shorter.replace(part)
        self._map.flush()
        part.replace(file)
        return torch.from_numpy(np.lib.format.open_memmap(file, "r+"))


def check_free(file: Path | None) -> None:
    """Raise InvalidInputError when a trace cannot be written to the file: it exists, is not called .npy, or its folder is missing."""
    if file is None:
        return
    if file.suffix != ".npy":
        raise InvalidInputError(f"trace: expected a file name ending in .npy, found {file.name}")
    if file.exists():
        raise InvalidInputError(f"trace: {file} exists; name a new file or delete it")
    if not file.parent.is_dir():
        raise InvalidInputError(f"trace: the folder {file.parent} does not exist; make it first")


def _storage(shape: tuple[int, ...], like: Tensor, file: Path | None) -> tuple[Any, Tensor]:
    if file is None:
        return None, like.new_empty(shape)
    import numpy as np

    check_free(file)
    with contextlib.suppress(FileNotFoundError):
        _part(file).unlink()
    dtype = np.float32 if like.dtype == torch.float32 else np.float64
    mapped = np.lib.format.open_memmap(_part(file), "w+", dtype, shape)
    return mapped, torch.from_numpy(mapped)


def _part(file: Path) -> Path:
    return file.with_name(file.name + ".part")
