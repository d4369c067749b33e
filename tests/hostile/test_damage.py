"""The fuzzer of tests/unit/test_fuzz_files.py for longer; seven kinds, some minutes."""

import pytest
from seeds import SEED
from test_fuzz_files import KINDS, try_all


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_ends_in_one_line(tmp_path, kind):
    print(kind, dict(try_all(kind, tmp_path, 1000, SEED)))
