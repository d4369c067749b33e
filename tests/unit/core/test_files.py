"""Files are whole, temporary names nobody else's, and folders keep what their program did not make."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repository import REPOSITORY

from stratamil.core import files, processes
from stratamil.core.errors import UserError

NAMES = ("a.txt", "b.png", "figures/a.svg", "figures/deep/c.svg", "index.html")
SETS = st.sets(st.sampled_from(NAMES), min_size=1)


def make(folder, names, content):
    """Make files of a folder as a script does."""
    with files.updated_folder(folder) as new:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(content)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != files.LISTING and files.PARTIAL not in path.name
    }


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(runs=st.lists(SETS, min_size=1, max_size=4))
def test_a_folder_holds_the_last_run_and_what_others_laid_there(tmp_path_factory, runs):
    folder = tmp_path_factory.mktemp("made") / "report"
    own = {"note.md": "mine", "figures/mine.png": "mine", "figures/deep/mine.txt": "mine", "other/mine.txt": "mine"}
    for name, text in own.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for number, names in enumerate(runs):
        make(folder, names, str(number))
        assert content(folder) == own | dict.fromkeys(names, str(number))
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(first=SETS, second=SETS, step=st.integers(0, 12))
def test_a_run_that_is_killed_at_any_step_is_completed_by_the_next(tmp_path_factory, first, second, step):
    folder = tmp_path_factory.mktemp("made") / "report"
    make(folder, first, "old")
    (folder / "note.md").write_text("mine")
    left = step

    class Killed(BaseException):
        pass

    def dying(function):
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        patch.setattr(Path, "rmdir", dying(Path.rmdir))
        with contextlib.suppress(Killed):
            make(folder, second, "new")
    assert set(content(folder).values()) <= {"old", "new", "mine"}
    assert set(content(folder)) - {"note.md"} <= files.made(folder / files.LISTING)
    make(folder, second, "new")
    assert content(folder) == {"note.md": "mine"} | dict.fromkeys(second, "new")


@pytest.mark.parametrize("listing", ["", "[1", '{"files": 3}', '{"files": ["../kept.txt", "/kept.txt", "gone.txt"]}'])
def test_a_listing_that_somebody_wrote_deletes_nothing_elsewhere(tmp_path, listing):
    folder = tmp_path / "report"
    folder.mkdir()
    (tmp_path / "kept.txt").write_text("mine")
    (folder / files.LISTING).write_text(listing)
    make(folder, ["a.txt"], "new")
    assert (tmp_path / "kept.txt").read_text() == "mine" and content(folder) == {"a.txt": "new"}


def test_a_folder_in_the_place_of_a_result_is_one_line(tmp_path):
    (tmp_path / "report/a.txt").mkdir(parents=True)
    (tmp_path / "report/figures").write_text("mine")
    with pytest.raises(UserError) as error:
        make(tmp_path / "report", NAMES, "new")
    assert [line.partition(":")[0] for line in error.value.problems] == [
        str(tmp_path / "report/a.txt"),
        str(tmp_path / "report/figures"),
    ]
    assert content(tmp_path / "report") == {"figures": "mine"}


def test_two_writers_never_share_a_temporary_file(tmp_path):
    with files.atomic(tmp_path / "x.csv") as one, files.atomic(tmp_path / "x.csv") as other:
        assert one != other and one.suffix == other.suffix == ".csv"
        one.write_text("one")
        other.write_text("other")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"] and (tmp_path / "x.csv").read_text() == "one"


def test_what_a_dead_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    code = "from pathlib import Path; from stratamil.core import files; import os, sys\n"
    code += "with files.atomic(sys.argv[1]) as path:\n    path.write_text('half'); os._exit(9)\n"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "scripts")}
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.csv"], env=environment)
    (dead,) = tmp_path.iterdir()
    foreign = tmp_path / f".x.abcdef-1-01234567{files.PARTIAL}.csv"  # a writer on another machine
    foreign.write_text("half")
    with files.atomic(tmp_path / "x.csv") as mine:
        mine.write_text("mine")
        files.write_text("other", tmp_path / "x.csv")
        assert not dead.exists() and mine.exists() and foreign.exists()
    os.utime(foreign, (0, 0))
    files.write_text("again", tmp_path / "x.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_listing_is_json(tmp_path):
    make(tmp_path / "report", NAMES, "new")
    assert json.loads((tmp_path / "report" / files.LISTING).read_text()) == {"files": sorted(NAMES)}
    assert processes.lives(os.getpid(), processes.started(os.getpid())) and not processes.lives(os.getpid(), "1")


def test_a_table_added_to_case_by_case_is_that_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "GROUP", 4)
    ids = pd.Categorical(["1", "1", "1", "2", "2", "10", "10", "10", "10"])
    table = pd.DataFrame({"case_id": ids, "patch": range(9), "weight": np.linspace(0, 1, 9, dtype=np.float32)})
    table.attrs = {"made": "here"}
    with files.parquet(tmp_path / "parts.parquet") as write:
        for _, case in table.groupby("case_id", observed=True, sort=False):
            write(case)
    files.write_parquet(table, tmp_path / "whole.parquet")
    parts, whole = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("parts", "whole"))
    pd.testing.assert_frame_equal(parts, whole)
    pd.testing.assert_frame_equal(whole, table.assign(case_id=table["case_id"].astype(str)))
    assert parts.attrs == whole.attrs == {"made": "here"}
    assert list(parts.index) == list(range(9))


def test_a_table_is_not_half_written(tmp_path):
    with pytest.raises(RuntimeError), files.parquet(tmp_path / "table.parquet") as write:
        write(pd.DataFrame({"a": [1]}))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
