"""A folder of results that is either whole or not there: written beside its place, renamed at the end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Set
from pathlib import Path

from topogen.errors import CheckpointError

__all__ = ["check_output_folder", "fresh_folder"]

ALWAYS = {"inspection.json", "model", "report.json", "report.txt", "samples.npy", "verification.json"}
SOMETIMES = {"atlas.png", "barcode.png", "certificate.json", "figure.png", "mesh.ply", "singular.png"}


def check_output_folder(folder: Path, always: Set[str] = ALWAYS, sometimes: Set[str] = SOMETIMES) -> None:
    """Raise CheckpointError unless `folder` can be made or replaced: missing, empty, or an earlier run (with files of these names) and nothing else."""
    if not folder.exists():
        _nearest_parent(folder)
        return
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file; name a folder")
    held = {entry.name for entry in folder.iterdir()}
    if held and not always <= held <= always | sometimes:
        raise CheckpointError(f"{folder}: is not empty and is not just an earlier run, which would be replaced; name a new folder")


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends well and vanishes when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    place.chmod(0o755)
    try:
        yield place
        _swap(place, folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _swap(place: Path, folder: Path) -> None:
    """Rename `place` to `folder`; what was there goes only once that is done, and comes back where it fails."""
    if not folder.exists():
        place.replace(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        folder.replace(old)
        place.replace(folder)
    except BaseException:
        if not folder.exists():
            old.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _nearest_parent(folder: Path) -> None:
    parent = next(p for p in folder.absolute().parents if p.exists())
    if not parent.is_dir():
        raise CheckpointError(f"{folder}: {parent} is a file; name a folder that can be made")
