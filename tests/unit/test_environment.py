"""One list of versions, wherever the environment comes from."""

import re

from conftest import REPOSITORY


def pins(name):
    """package==version lines of a file, in lower case."""
    return set(re.findall(r"^[ -]*([\w.-]+==[\w.]+)$", (REPOSITORY / name).read_text().lower(), re.MULTILINE))


def test_conda_and_pip_get_the_same_versions():
    assert pins("requirements.txt")
    assert pins("requirements.txt") == pins("envs/stratamil.yaml")
    assert pins("requirements.txt") | pins("requirements-timm.txt") == pins("envs/timm.yaml")
    assert pins("envs/timm.yaml") | pins("requirements-dev.txt") <= pins("constraints.txt")
