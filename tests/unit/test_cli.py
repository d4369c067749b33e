"""What a script says and how it ends when something goes wrong."""

import argparse
import errno
import os

import pytest

import cli
from stratamil.errors import Stopped, UserError


@pytest.mark.parametrize(
    "error, status, said",
    [
        (UserError("a.csv row 2: no number", "a.csv row 3: no name"), 1, ["a.csv row 2: no number", "a.csv row 3"]),
        (Stopped("stopped after epoch 3, step 0: run again to go on"), 143, ["stopped after epoch 3"]),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, ["No space left on device: make room"]),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "data/x.csv"), 1, ["data/x.csv: Permission denied"]),
        (
            OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), "x.h5"),
            1,
            ["x.h5: No locks available: its file system"],
        ),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), 1, ["another program has locked it: wait"]),
        (FileNotFoundError(errno.ENOENT, "of the program itself"), 2, ["please report it", "Traceback"]),
        (ValueError("of the program itself"), 2, ["please report it", "Traceback"]),
    ],
)
def test_ends(tmp_path, capsys, error, status, said):
    def main(args):
        raise error

    with pytest.raises(SystemExit) as ended:
        cli.run(main, argparse.Namespace(log=tmp_path / "logs/x.log"))
    assert ended.value.code == status
    terminal, log = capsys.readouterr().err, (tmp_path / "logs/x.log").read_text()
    for text in said:
        assert text in terminal and text in log
    assert ("Traceback" in terminal) == (status == 2)
