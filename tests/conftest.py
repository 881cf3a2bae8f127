"""Lets every test import what tests share, and workers keep to one thread each."""

import os
import pathlib
import sys

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the cores: one thread each, for them and what they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

sys.path.insert(0, str(pathlib.Path(__file__).parent))


# Tests that took over five seconds on one core when they were last measured (`pytest --durations=0`), one a line; the quick suite leaves them out.
SLOW = frozenset((pathlib.Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Slow tests are marked, and the longest file comes first, so that no worker is left alone with it at the end."""
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: "examples" not in item.path.parts)
