"""The fuzzer of tests/unit/test_fuzz_files.py for longer; each kind takes about a minute and a half."""

import pytest
from seeds import SEED
from test_fuzz_files import KINDS, try_all


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_random_damage_ends_in_one_line(tmp_path, kind):
    print(kind, dict(try_all(kind, tmp_path, 3000, SEED)))
