"""The fuzzer of tests/unit/test_fuzz_files.py for longer, with a new seed each time, which is printed."""

import os
import random

import pytest
from test_fuzz_files import KINDS, try_all


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_ends_in_one_line(tmp_path, kind):
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"SEED={seed}")
    print(kind, dict(try_all(kind, tmp_path, int(os.environ.get("DAMAGED", 3000)), seed)))
