"""Folders of results: whole or not there."""

import os
import stat
from pathlib import Path

import pytest

from topogen.errors import CheckpointError
from topogen.report.folders import check_output_folder, fresh_folder


def fill(folder: Path, text: str) -> None:
    with fresh_folder(folder) as place:
        (place / "report.json").write_text(text)


def test_it_takes_its_place_only_at_the_end(tmp_path):
    with fresh_folder(tmp_path / "deep" / "run") as place:
        (place / "report.json").write_text("{}")
        assert place.parent == tmp_path / "deep" and not (tmp_path / "deep" / "run").exists()
    assert (tmp_path / "deep" / "run" / "report.json").read_text() == "{}"
    assert stat.S_IMODE((tmp_path / "deep" / "run").stat().st_mode) == 0o755
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["run"]


def whole_run(folder: Path) -> Path:
    """A folder that holds what every run writes."""
    folder.mkdir()
    for name in ("inspection.json", "report.json", "report.txt", "samples.npy", "verification.json"):
        (folder / name).write_text("first")
    (folder / "model").mkdir()
    return folder


def test_a_second_run_replaces_the_first_whole(tmp_path):
    folder = whole_run(tmp_path / "run")
    (folder / "mesh.ply").touch()
    check_output_folder(folder)
    fill(folder, "second")
    assert [entry.name for entry in folder.iterdir()] == ["report.json"]
    assert (folder / "report.json").read_text() == "second" and len(list(tmp_path.iterdir())) == 1


def test_a_file_of_the_users_in_an_earlier_run_is_not_lost(tmp_path):
    folder = whole_run(tmp_path / "run")
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not just an earlier run"):
        check_output_folder(folder)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "report.json").write_text("somebody's report")
    with pytest.raises(CheckpointError, match="not just an earlier run"):
        check_output_folder(tmp_path / "own")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    fill(tmp_path / "old", "first")
    for name in ("old", "new"):
        with pytest.raises(error), fresh_folder(tmp_path / name) as place:
            (place / "report.json").write_text("half")
            raise error
    assert [entry.name for entry in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "report.json").read_text() == "first"


@pytest.mark.parametrize("fails_at", [1, 2], ids=["putting the old aside", "putting the new in"])
def test_a_swap_that_fails_brings_the_old_one_back(tmp_path, monkeypatch, fails_at):
    fill(tmp_path / "run", "first")
    calls, rename = [], Path.replace

    def failing(self, target):
        calls.append(target)
        if len(calls) == fails_at:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="Input/output"):
        fill(tmp_path / "run", "second")
    assert (tmp_path / "run" / "report.json").read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_what_may_be_written(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "diary.txt").write_text("mine")
    (tmp_path / "file").touch()
    for name in ("missing", "empty", "a/b/c"):
        check_output_folder(tmp_path / name)
    for name in ("foreign", "file", "file/below"):
        with pytest.raises(CheckpointError, match="name a"):
            check_output_folder(tmp_path / name)
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "empty", "{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["empty"]
