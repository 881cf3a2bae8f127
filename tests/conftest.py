"""Lets every test import what tests share, and workers keep to one thread each."""

import os
import pathlib
import sys

import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # several workers share the cores: one thread each, for them and what they start
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

sys.path.insert(0, str(pathlib.Path(__file__).parent))


def pytest_collection_modifyitems(items):
    """The longest file first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "examples" not in item.path.parts)
