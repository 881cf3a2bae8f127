"""Saved models: a folder with one JSON document and one safetensors file, read against tables of kinds, nothing unpickled.

    FOLDER/model.json                  schema_version, kinds, configurations, inspection, SHA-256 of the tensors
    FOLDER/tensors-<hash>.safetensors  every tensor, named manifold.* or distribution.* or anchors

The tensors are written first under a name of their own hash and the JSON replaces the old one last, both through a temporary file, so a save that
is cut short leaves the previous model whole. The tables `MANIFOLDS` and `DENSITIES` say how an object is described by
plain values and tensors, and built from them; names outside of them are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from topogen.errors import CheckpointError
from topogen.training.checkpoints import replace_file

__all__ = ["SCHEMA_VERSION", "Saved", "check_folder", "part", "read_folder", "write_folder"]

SCHEMA_VERSION = 1
_JSON = "model.json"
Saved = tuple[Mapping[str, Any], Mapping[str, Tensor]]
"""What a file holds of an object: plain values that JSON takes, and tensors."""


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def check_folder(folder: Path) -> None:
    """Raise CheckpointError unless a model can be saved in `folder`: missing, empty, or holding an earlier model."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / _JSON).is_file())):
        raise CheckpointError(f"{folder}: exists and is not a saved model; name a new folder")


def write_folder(folder: Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Save a model's `document` and `tensors` in `folder`, made where it is missing; a model saved there before is replaced, anything else refused."""
    check_folder(folder)
    blob = save_tensors({name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()})
    digest = hashlib.sha256(blob).hexdigest()
    name = f"tensors-{digest[:16]}.safetensors"
    full = {"schema_version": SCHEMA_VERSION, **document, "tensors": {"file": name, "sha256": digest}}
    text = json.dumps(full, indent=1, allow_nan=False) + "\n"
    with _undone(folder, folder / name):
        _replace(folder / name, blob)
        _replace(folder / _JSON, text.encode())
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Document and tensors of the model saved in `folder`; raises CheckpointError where it is missing, torn, altered or of another schema."""
    document = _read_document(folder / _JSON)
    entry = document.get("tensors")
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str) or Path(entry["file"]).name != entry["file"]:
        raise CheckpointError(f"{folder / _JSON}: does not name its tensors; the file was altered")
    try:
        blob = (folder / entry["file"]).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise CheckpointError(f"{folder}: tensors missing ({error}); copy the whole folder of a saved model") from error
    if hashlib.sha256(blob).hexdigest() != entry.get("sha256"):
        raise CheckpointError(f"{folder / entry['file']}: does not match the SHA-256 in {_JSON}; the file is torn or altered")
    return document, _finite(_parse(blob, folder), folder)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give the folder of a saved model") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); the file is torn or altered") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        found = document.get("schema_version") if isinstance(document, dict) else type(document).__name__
        raise CheckpointError(f"{path}: schema_version {found!r} is not {SCHEMA_VERSION}; load it with the version of topogen that saved it")
    return document


def _parse(blob: bytes, folder: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(blob)
    except SafetensorError as error:
        raise CheckpointError(f"{folder}: tensors cannot be read ({error})") from error


def _finite(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{folder}: tensor {name!r} holds values that are not finite; the model is unusable")
    return tensors


@contextlib.contextmanager
def _undone(folder: Path, tensors: Path) -> Iterator[None]:
    """Where the block fails, take away what it added to `folder`: the tensors, and the folder itself."""
    new_folder, new_tensors = not folder.exists(), not tensors.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new_tensors and not _named(folder, tensors.name):
            tensors.unlink(missing_ok=True)
        if new_folder:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _named(folder: Path, tensors: str) -> bool:
    with contextlib.suppress(OSError):
        return tensors.encode() in (folder / _JSON).read_bytes()
    return False


def _replace(path: Path, content: bytes) -> None:
    replace_file(path, lambda file: file.write(content))
