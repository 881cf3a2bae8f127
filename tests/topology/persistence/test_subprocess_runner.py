"""The wall: same answers behind it, memory and time that run out and crashes are exceptions, and the interpreter lives on."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from topogen.errors import BudgetExceeded, EngineError
from topogen.manifolds import shapes
from topogen.topology import Budget, persistence
from topogen.topology.persistence import engine, subprocess_runner

linux = pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")

CRASH = "import os, signal\nJOBS['alpha'] = lambda arrays, **options: os.kill(os.getpid(), signal.{})\n"


def cloud(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Puts a defect into a copy of the program behind the wall."""

    def plant(code):
        text = Path(engine.__file__).read_text(encoding="utf-8")
        target = tmp_path / "engine.py"
        target.write_text(text.replace('if __name__ == "__main__":', f'{code}\nif __name__ == "__main__":'), encoding="utf-8")
        monkeypatch.setattr(engine, "__file__", str(target))

    return plant


@pytest.mark.parametrize("name", ["alpha", "rips"])
def test_the_same_bars_behind_the_wall(name):
    x = shapes.get("torus").sample(150, generator=torch.Generator().manual_seed(0))
    free, walled = (persistence(x, max_degree=1, engine=name, budget=Budget(wall=wall)) for wall in (False, True))
    for p in (2, 3):
        for ours, theirs in zip(free[p].bars, walled[p].bars, strict=True):
            assert np.array_equal(ours, theirs)


@linux
def test_memory_that_runs_out_is_an_exception():
    with pytest.raises(BudgetExceeded, match="needs more than"):
        subprocess_runner.run_in_subprocess("alpha", {"cloud": cloud(20_000).numpy()}, Budget(max_bytes=50_000_000, wall=True), max_degree=2, fields=(2,))


def test_time_that_runs_out_is_an_exception():
    with pytest.raises(BudgetExceeded, match="needs more than 1 s"):
        subprocess_runner.run_in_subprocess(
            "alpha", {"cloud": cloud(60_000).numpy()}, Budget(max_bytes=2**33, max_seconds=1, wall=True), max_degree=2, fields=(2,)
        )


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT"])
def test_a_crash_is_an_exception(planted, signal):
    planted(CRASH.format(signal))
    with pytest.raises(EngineError, match=signal):
        persistence(cloud(20), max_degree=1, budget=Budget(wall=True))


def test_being_killed_is_taken_for_memory(planted):
    planted(CRASH.format("SIGKILL"))
    with pytest.raises(BudgetExceeded, match="needs more than"):
        persistence(cloud(20), max_degree=1, budget=Budget(wall=True))


@pytest.mark.parametrize("words", ["std::bad_alloc", "cannot allocate memory for thread-local data: ABORT"])
def test_words_of_hunger_are_taken_for_memory(planted, words):
    planted(f"import os, sys\ndef bad(arrays, **options):\n    sys.stderr.write({words!r})\n    sys.stderr.flush()\n    os._exit(127)\nJOBS['alpha'] = bad\n")
    with pytest.raises(BudgetExceeded, match="needs more than"):
        persistence(cloud(20), max_degree=1, budget=Budget(wall=True))


def test_an_error_of_the_job_is_told(planted):
    planted("def bad(arrays, **options):\n    raise ValueError('no such thing')\nJOBS['alpha'] = bad\n")
    with pytest.raises(EngineError, match="no such thing"):
        persistence(cloud(20), max_degree=1, budget=Budget(wall=True))
