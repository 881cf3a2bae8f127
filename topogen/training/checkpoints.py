"""Checkpoints of a training run: written atomically, read without running code.

The file is torch's own archive, read with `weights_only=True` (tensors, numbers, strings and containers only). Writing goes to a temporary file in
the same folder, is flushed to the disk and renamed over the old one, so a run that is killed while writing leaves the previous checkpoint.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from topogen.errors import CheckpointError

__all__ = ["SCHEMA", "read_checkpoint", "replace_file", "write_checkpoint"]

SCHEMA = 1


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` by `state` (nested dicts and lists of tensors and plain values)."""
    replace_file(path, lambda file: torch.save({"schema": SCHEMA, "state": state}, file))


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Replace the file at `path` by what `write` puts into a temporary file beside it; where that fails the old file stays and the temporary one goes."""
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """State of the checkpoint at `path`; raises CheckpointError where it is torn, foreign or of another schema."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch's reader meets junk with whatever its opcodes run into, IndexError among others
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({why}); delete it to start again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or not isinstance(content.get("state"), dict):
        raise CheckpointError(f"{path}: not a topogen checkpoint of schema {SCHEMA}; delete it to start again")
    state: dict[str, Any] = content["state"]
    return state
