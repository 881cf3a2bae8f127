"""Native code behind a wall: a job of `engine` runs here, or in a process of its own that may take so much memory and processor time and no more.

A prediction of cost can be wrong, and code that is not Python can end the interpreter. Behind the wall either is an exception: what the job takes
beyond `max_bytes` (address space, on Linux) or `max_seconds` raises BudgetExceeded, a crash EngineError. The price is one to two seconds a job.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from topogen.errors import BudgetExceeded, EngineError
from topogen.topology.persistence import engine
from topogen.topology.persistence.budget import GIB, Budget
from topogen.topology.persistence.engine import OUT_OF_MEMORY, Arrays

__all__ = ["run_in_subprocess"]

TAIL = 300
# What is said by C++, by Python, and by the loader of shared libraries, which ends with a code of its own.
STARVED = ("bad_alloc", "MemoryError", "cannot allocate memory", "Cannot allocate memory")


def run_in_subprocess(job: str, arrays: Arrays, budget: Budget, **options: Any) -> Arrays:
    """Do a job of `engine.JOBS`; raises BudgetExceeded for what is out of memory or time, EngineError for what fails otherwise."""
    if budget.wall:
        return _apart(job, arrays, budget, options)
    try:
        return engine.JOBS[job](arrays, **options)
    except MemoryError as error:
        raise BudgetExceeded(f"{job}: out of memory; use fewer points or landmarks, or a smaller threshold") from error


def _apart(job: str, arrays: Arrays, budget: Budget, options: Mapping[str, Any]) -> Arrays:
    head = {"job": job, "bytes": budget.max_bytes, "seconds": budget.max_seconds, "options": {k: _listed(v) for k, v in options.items()}}
    packed = io.BytesIO()
    np.savez(packed, **arrays)  # type: ignore[arg-type]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(Path(engine.__file__))], input=json.dumps(head).encode() + b"\n" + packed.getvalue(), capture_output=True, env=environment
    )
    if done.returncode:
        raise _failure(job, done.returncode, done.stderr.decode(errors="replace"), budget)
    return dict(np.load(io.BytesIO(done.stdout), allow_pickle=False))


def _failure(job: str, code: int, said: str, budget: Budget) -> Exception:
    """What a process that ended with this code and these last words has died of."""
    out_of_memory = code in (OUT_OF_MEMORY, -signal.SIGKILL) or any(words in said for words in STARVED)
    if out_of_memory:
        return BudgetExceeded(f"{job}: needs more than {budget.max_bytes / GIB:.3g} GiB; use fewer landmarks, a smaller threshold or a larger budget")
    if code == -getattr(signal, "SIGXCPU", 0):
        return BudgetExceeded(f"{job}: needs more than {budget.max_seconds:.3g} s; use fewer landmarks, a smaller threshold or a larger budget")
    how = f"ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
    last = " ".join(said.split())[-TAIL:]
    return EngineError(f"{job}: the native code {how}{': ' + last if last else ''}; thin the cloud out, or use the other engine")


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
