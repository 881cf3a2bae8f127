"""Rows of the benchmark tables: one JSON file each, kept in a folder, so that a table that was interrupted goes on where it stopped.

The folder is `build/benchmarks` or the one that TOPOGEN_BENCHMARKS names; delete it (or a row) to measure again.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

FOLDER = pathlib.Path(os.environ.get("TOPOGEN_BENCHMARKS", "build/benchmarks"))
Row = dict[str, Any]


def row(table: str, name: str, measure: Callable[[], Row]) -> Row:
    """The row `name` of a table: read if it is there, measured and written if not."""
    path = FOLDER / table / f"{name}.json"
    if path.exists():
        found: Row = json.loads(path.read_text(encoding="utf-8"))
        return found
    result = {"name": name, **measure()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1), encoding="utf-8")
    part.replace(path)
    return result


def table(name: str) -> list[Row]:
    """All rows measured so far, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / name).glob("*.json"))]


def markdown(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """A table for people."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(_cell(entry.get(column)) for column in columns) + " |" for entry in rows])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)


def reference_seconds() -> float:
    """Processor seconds of a hundred products of 1024 x 1024 float32 matrices: the unit that costs are given in, measured beside them."""
    a = torch.rand(1024, 1024)
    start = time.process_time()
    for _ in range(100):
        a @ a
    return time.process_time() - start
