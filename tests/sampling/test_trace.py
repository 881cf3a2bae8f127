"""Traces: a file holds what memory would, is never overwritten, and is cut to what was kept."""

import numpy as np
import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.sampling.trace import Trace, check_free


def filled(file, n_kept=5, kept=5, dtype=torch.float64, energies=True):
    start = torch.zeros(4, 3, dtype=dtype)
    trace = Trace(n_kept, start, file)
    for k in range(kept):
        trace.keep(start + k, start[:, 0] - k, start[:, 0] + 2 * k if energies else None)
    return trace.finish()


@pytest.mark.parametrize("kept", [5, 3, 0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_file_holds_what_memory_would(tmp_path, kept, dtype):
    file = tmp_path / "chains.npy"
    in_memory, on_disk = filled(None, kept=kept, dtype=dtype), filled(file, kept=kept, dtype=dtype)
    assert in_memory[0].shape == (kept, 4, 3) and in_memory[0].dtype == dtype
    assert torch.equal(in_memory[0], on_disk[0]) and torch.equal(in_memory[1], on_disk[1])
    assert (in_memory[2] is None and on_disk[2] is None) if kept == 0 else torch.equal(in_memory[2], on_disk[2])
    read = np.load(file)
    assert read.shape == (kept, 4, 3) and np.array_equal(read, in_memory[0].numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["chains.npy"], "no part is left behind"


def test_nothing_has_the_name_of_the_file_before_the_end(tmp_path):
    file = tmp_path / "chains.npy"
    trace = Trace(2, torch.zeros(4, 3, dtype=torch.float64), file)
    assert not file.exists() and (tmp_path / "chains.npy.part").exists()
    trace.finish()
    assert file.exists()


def test_a_file_that_exists_is_refused_and_kept(tmp_path):
    file = tmp_path / "chains.npy"
    file.write_bytes(b"precious")
    with pytest.raises(InvalidInputError, match="exists"):
        filled(file)
    assert file.read_bytes() == b"precious"


def test_a_part_left_by_a_run_that_died_is_replaced(tmp_path):
    (tmp_path / "chains.npy.part").write_bytes(b"torn")
    filled(tmp_path / "chains.npy")
    assert np.load(tmp_path / "chains.npy").shape == (5, 4, 3)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"\.npy"):
        filled(tmp_path / "chains.csv")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="folder.*nowhere"):
        filled(tmp_path / "nowhere" / "chains.npy")
    check_free(None)


def test_energies_are_optional():
    assert filled(None, energies=False)[2] is None
