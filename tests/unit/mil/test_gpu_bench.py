"""The benchmark of a GPU takes the same steps on a CPU, in small."""

import re
import subprocess
import sys

import pytest
from repository import REPOSITORY


@pytest.mark.long
def test_every_part_of_the_benchmark_runs_in_small():
    command = [sys.executable, str(REPOSITORY / "bench/gpu.py"), "--small", "--threads", "1"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    parts = {line.split(maxsplit=1)[0] for line in said.splitlines()}
    assert parts == {"machine", "features", "study", "members", "step", "exact", "embed"}
    assert re.search(r"killed \(exit -9\) after epoch \d+ and resumed: the same bytes", said)
    assert "0 warnings of waiting" in said
