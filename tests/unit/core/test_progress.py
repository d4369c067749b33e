"""How far long work is: in the log, and on a terminal of one's own only."""

import logging

import pytest

from stratamil.core import progress


def lines(caplog, total, monkeypatch, seconds=0.0):
    monkeypatch.setattr(progress, "SECONDS", seconds)
    with caplog.at_level(logging.INFO):
        assert list(progress.track(iter(range(total)), total, "patches")) == list(range(total))
    return caplog.messages


def test_the_log_counts_what_is_done(caplog, monkeypatch):
    assert lines(caplog, 3, monkeypatch) == ["1 of 3 patches", "2 of 3 patches", "3 of 3 patches"]


def test_a_long_job_writes_a_hundred_lines_at_most(caplog, monkeypatch):
    assert len(lines(caplog, 10_000, monkeypatch)) == 100


def test_a_short_job_writes_none(caplog, monkeypatch):
    assert lines(caplog, 1000, monkeypatch, seconds=60.0) == []


@pytest.mark.parametrize(("value", "hidden"), [("1", True), ("", None)])
def test_no_bar_is_drawn_beside_the_view_of_the_run(monkeypatch, value, hidden):
    monkeypatch.setenv(progress.QUIET, value)
    assert progress.hidden() is hidden
