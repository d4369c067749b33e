"""What a script says and how it ends when something goes wrong."""

import argparse
import errno
import logging
import os
import warnings
from pathlib import Path

import pytest

import cli
from stratamil.core.errors import Stopped, UserError


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
        (KeyboardInterrupt(), 130, ["stopped by Ctrl-C"]),
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


def test_beside_the_view_of_the_run_the_log_alone_has_errors_and_warnings(tmp_path, capsys, monkeypatch):
    def main(args):
        warnings.warn("of a library", stacklevel=1)
        raise UserError("a.csv row 2: no number")

    monkeypatch.setenv("STRATAMIL_QUIET", "1")
    try:
        for log in (tmp_path / "x.log", Path("/dev/full")):
            with pytest.raises(SystemExit):
                cli.run(main, argparse.Namespace(log=log))
            said = capsys.readouterr().err
            assert ("error: a.csv row 2" in said) == (log.name == "full")
    finally:
        logging.captureWarnings(False)
    text = (tmp_path / "x.log").read_text()
    assert "error: a.csv row 2: no number" in text and "of a library" in text


def test_no_name_commands_a_terminal(tmp_path, capsys):
    def main(args):
        logging.info("a table\n of \x9b2J two\tlines")
        raise UserError("labels.csv: case \x1b]0;mine\x07\r\n\u202eb \udcff \u00e4\u03b1: rename it")

    with pytest.raises(SystemExit):
        cli.run(main, argparse.Namespace(log=tmp_path / "x.log"))
    terminal, log = capsys.readouterr().err, (tmp_path / "x.log").read_text()
    assert (
        r"case \x1b]0;mine\x07\r\n\u202eb \udcff \u00e4\u03b1: rename it".replace(r"\u00e4\u03b1", "\u00e4\u03b1")
        in terminal
    )
    assert terminal.splitlines()[-1] in log
    assert "a table\n of \\x9b2J two\tlines" in log


def test_a_log_on_a_full_disk_is_said_once_and_the_work_goes_on(capsys):
    def main(args):
        for number in range(100):
            logging.info("line %d %s", number, "x" * 1000)

    cli.run(main, argparse.Namespace(log=Path("/dev/full")))
    assert capsys.readouterr().err.splitlines() == [
        "/dev/full: the log is not complete: [Errno 28] No space left on device"
    ]


def test_a_log_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/x.log", tmp_path):
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda args: None, argparse.Namespace(log=path))
        assert ended.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {tmp_path}") and line.endswith("and run again")


def test_each_seed_has_its_checkpoint_or_all_have_one():
    paths = [Path("a.pth"), Path("b.pth")]
    assert cli.members([7, 9], paths) == [(7, 0), (9, 1)] and cli.members([7, 9], paths[:1]) == [(7, 0), (9, 0)]
    with pytest.raises(UserError, match="2 checkpoints for 3 seeds"):
        cli.members([1, 2, 3], paths)
