"""Puts the scripts and the library on the path, as a script's own folder is when it runs."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The tests run side by side; threads of each that wait for a busy core make them ten times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A profile of the person who runs the tests is not that of the tests.
os.environ.pop("SNAKEMAKE_PROFILE", None)

# A busy machine is no fault of an example: no test is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS.with_name("scripts")), *map(str, TESTS.glob("**/"))]


# Each file is run by one worker: those that take minutes start first, so that none is waited for at the end.
LONGEST = ("test_run", "test_smoke", "test_bad_input", "test_networks", "test_train", "test_view", "test_faithfulness")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def shared():
    """The folder of real data, named by STRATAMIL_SHARED; tests that need it skip without."""
    if "STRATAMIL_SHARED" not in os.environ:
        pytest.skip("set STRATAMIL_SHARED to the folder of real data to run this")
    return Path(os.environ["STRATAMIL_SHARED"]) / "data"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A study of precomputed features and its bundle: bundles.Made."""
    import bundles

    return bundles.write(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A SLURM cluster of its own with accounting; tests that need it skip where SLURM is not installed."""
    import cluster

    if reason := cluster.lacking():
        pytest.skip(reason)
    with cluster.Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def pytest_report_header() -> str:
    from seeds import SEED

    return f"STRATAMIL_SEED={SEED}"
