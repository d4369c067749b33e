"""Whose a results folder is: refused unless new or marked, and never one that holds what is read."""

import os
import subprocess
import sys

import pytest
from repository import REPOSITORY

from stratamil.core import files, locks
from stratamil.core.errors import UserError
from stratamil.workflow import results_folder


@pytest.mark.parametrize("there", [(), (".DS_Store", "Thumbs.db")])
def test_a_new_or_empty_folder_is_taken(tmp_path, there):
    folder = tmp_path / "results"
    assert results_folder.problems(str(folder), {}) == [] and not folder.exists()
    folder.mkdir()
    for name in there:
        (folder / name).touch()
    assert results_folder.problems(str(folder), {}) == []
    results_folder.claim(str(folder)).release()
    (folder / "mine.txt").touch()
    assert results_folder.problems(str(folder), {}) == []


@pytest.mark.parametrize("name", ["report/thesis.tex", "notes.md", ".git/config", "a/b/c/.hidden", "link"])
def test_a_folder_of_others_is_refused_in_one_line(tmp_path, name):
    folder = tmp_path / "proj"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(tmp_path) if name == "link" else (folder / name).touch()
    (line,) = results_folder.problems(str(folder), {})
    assert name in line and f"python scripts/adopt.py {folder}" in line


def test_results_of_other_studies_below_are_not_in_the_way(tmp_path):
    results_folder.claim(str(tmp_path / "results/demo")).release()
    (tmp_path / "results/demo/report.html").touch()
    assert results_folder.problems(str(tmp_path / "results"), {}) == []
    (tmp_path / "results/mine.txt").touch()
    assert "(such as mine.txt)" in results_folder.problems(str(tmp_path / "results"), {})[0]


def test_no_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for name in ("file", "file/below", "nowhere"):
        (line,) = results_folder.problems(str(tmp_path / name), {})
        assert "is no folder" in line


def test_a_link_to_itself_and_a_name_beyond_the_file_system_are_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "loop/below", "a" * 300):
        (line,) = results_folder.problems(str(tmp_path / name), {"labels": tmp_path / ("b" * 300), "patches": "/c"})
        assert line.startswith("results: ") and line.endswith(("set results to a new one", "a folder of your own"))


@pytest.mark.parametrize("way", ["", "study", "study/..", "link"])
def test_a_folder_that_holds_what_is_read_is_refused_though_marked(tmp_path, way):
    folder = tmp_path / way
    (tmp_path / "study").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "study")
    files.write_json({}, folder / results_folder.MARK)
    (line,) = results_folder.problems(
        str(folder), {"labels": tmp_path / "study/labels.csv", "manifest": "/elsewhere/m.csv"}
    )
    assert "labels" in line and "manifest" not in line


def test_a_run_at_work_is_named_and_nothing_is_marked(tmp_path):
    with locks.held(tmp_path / "features/net/cache/shard_00.h5"):
        with pytest.raises(UserError) as error:
            results_folder.claim(str(tmp_path))
        assert f"pid {os.getpid()} " in error.value.problems[0] and "shard_00.h5: in use by" in error.value.problems[0]
        assert not (tmp_path / results_folder.MARK).exists() and not (tmp_path / results_folder.LOCK).exists()
    lock = results_folder.claim(str(tmp_path))
    with pytest.raises(UserError, match="in use by"):
        results_folder.claim(str(tmp_path))
    lock.release()


@pytest.mark.slow
def test_adopting(tmp_path):
    command = [sys.executable, REPOSITORY / "scripts/adopt.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "not results of this workflow" in done.stderr and done.stderr.count("\n") == 1
    for name in ("config.yaml", "inventory/cases.csv", "logs/x.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert len(results_folder.problems(str(tmp_path), {})) == 1
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert results_folder.problems(str(tmp_path), {}) == []


def test_the_demo_paints_over_nobody_s_files(tmp_path):
    patches, labels = tmp_path / "patches", tmp_path / "labels.csv"
    assert results_folder.painted_over(str(patches), {"labels": str(labels)}) == []
    labels.touch()
    (line,) = results_folder.painted_over(str(patches), {"labels": str(labels)})
    assert line.startswith(f"labels: {labels} was not painted by the demo")
    with files.updated_folder(patches, results_folder.painted(patches)) as new:
        (new / "x.png").touch()
    assert results_folder.painted_over(str(patches), {"labels": str(labels)}) == []


def test_a_second_run_is_refused_by_the_name_of_the_first_and_leaves_nothing(tmp_path):
    results_folder.refuse_second(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    lock = results_folder.claim(str(tmp_path))
    with pytest.raises(UserError, match=rf"in use by .*pid {os.getpid()} .*`kill {os.getpid()}`"):
        results_folder.refuse_second(str(tmp_path))
    lock.release()
    results_folder.refuse_second(str(tmp_path))
