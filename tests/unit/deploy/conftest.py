"""What the tests of bundle and predict share."""

import bundles
import pytest


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A study of precomputed features and its bundle."""
    return bundles.write(tmp_path_factory.mktemp("made"))
