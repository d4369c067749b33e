"""One list of versions, wherever the environment comes from, for every Python that it is promised for."""

import re
from importlib.metadata import PackageNotFoundError, metadata

import pytest
from conftest import REPOSITORY
from packaging.specifiers import SpecifierSet


def pins(name):
    """package==version lines of a file, in lower case."""
    return set(
        re.findall(r"^[ -]*([\w.-]+==[\w.]+)$", (REPOSITORY / name).read_text(encoding="utf-8").lower(), re.MULTILINE)
    )


def test_conda_and_pip_get_the_same_versions():
    assert pins("requirements.txt")
    assert pins("requirements.txt") == pins("envs/stratamil.yaml")
    assert pins("requirements.txt") | pins("requirements-timm.txt") == pins("envs/timm.yaml")
    assert pins("envs/timm.yaml") | pins("requirements-dev.txt") <= pins("constraints.txt")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_pinned_package_takes_this_python(version):
    """As its own metadata say; the Makefile lets these versions through."""
    assert (
        f"({version.replace('.', ', ')})" in (REPOSITORY / "Makefile").read_text(encoding="utf-8") or version == "3.12"
    )
    checked = 0
    for pin in pins("constraints.txt"):
        try:
            wanted = metadata(pin.partition("==")[0])["Requires-Python"]
        except PackageNotFoundError:  # of the test tools that are not installed
            continue
        checked += 1
        assert SpecifierSet(wanted or "").contains(f"{version}.0"), pin
    assert checked > 50
