"""`topogen verify -o FOLDER`: verification.json, report.txt and barcode.png, all or nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from topogen.errors import InvalidInputError, MissingDependencyError
from topogen.report.diagrams import diagrams_in, draw_topology
from topogen.report.folders import check_output_folder, fresh_folder
from topogen.topology.persistence.loops import loops
from topogen.verification import Result

__all__ = ["check_place", "write_verification"]

ALWAYS, SOMETIMES = {"report.txt", "verification.json"}, {"barcode.png"}


def check_place(folder: Path, sources: Sequence[str]) -> None:
    """Raise CheckpointError or InvalidInputError where the folder holds anything but an earlier verification, or one of the sources."""
    if any(folder.resolve() in (Path(name).resolve(), *Path(name).resolve().parents) for name in sources):
        raise InvalidInputError(f"--output: {folder} holds the input and would be replaced; name another folder")
    check_output_folder(folder, ALWAYS, SOMETIMES)


def write_verification(folder: Path, found: Result, cloud: Tensor | None) -> None:
    """Write a verification to a folder, with the bars behind its first side and the loops of the cloud (n, D) it was about, if there is one."""
    with fresh_folder(folder) as place:
        (place / "verification.json").write_text(json.dumps(found.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (place / "report.txt").write_text(found.to_text() + "\n", encoding="utf-8")
        diagrams = diagrams_in(found)
        if diagrams:
            text, diagram = next(iter(diagrams.items()))
            with contextlib.suppress(MissingDependencyError):
                draw_topology(place / "barcode.png", diagram, cloud, () if cloud is None else loops(cloud), title=f"{found.verdict.value}: {text}")
