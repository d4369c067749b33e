"""One list of versions, wherever the environment comes from, for every Python that it is promised for; one version."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from repository import REPOSITORY

import stratamil

SUPPORTED = ["3.11", "3.12", "3.13"]


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def pins(name: str) -> set[str]:
    """Return the package==version lines of a file, in lower case."""
    return set(re.findall(r"^[ -]*([\w.-]+==[\w.]+)$", text(name).lower(), re.MULTILINE))


def test_conda_and_pip_get_the_same_versions():
    assert pins("requirements.txt")
    assert pins("requirements.txt") == pins("envs/stratamil.yaml")
    assert pins("requirements.txt") | pins("requirements-timm.txt") == pins("envs/timm.yaml")
    for name in ("envs/timm.yaml", "requirements-dev.txt", "requirements-docs.txt"):
        assert pins(name) <= pins("constraints.txt"), name


def test_every_line_of_the_conda_environments_is_a_pin():
    """Each environment that a rule names is there, takes a Python that is promised, and nothing without a version."""
    named = set(
        re.findall(r"envs/\w+\.yaml", "".join(path.read_text() for path in (REPOSITORY / "rules").glob("*.smk")))
    )
    assert named == {f"envs/{path.name}" for path in (REPOSITORY / "envs").iterdir()}
    for name in named:
        content = yaml.safe_load(text(name))
        python, pip, packages = content["dependencies"]
        assert python.removeprefix("python=") in SUPPORTED and pip == "pip"
        assert set(map(str.lower, packages["pip"])) == pins(name)
        assert content["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_containers_install_from_the_pins(name):
    assert "python -m pip install --no-cache-dir -r requirements-timm.txt -c constraints.txt" in text(name)
    assert re.search(r"^from:? python:(\S+?)-", text(name).lower(), re.MULTILINE)[1] in SUPPORTED
    copied = ("requirements.txt", "requirements-timm.txt", "constraints.txt")
    assert all(each in text(name) and f"!{each}" in text(".dockerignore") for each in copied)


def test_one_range_of_pythons():
    promised = SpecifierSet(tomllib.loads(text("pyproject.toml"))["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}.1" in promised] == SUPPORTED
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in text("Makefile")
    assert (
        yaml.safe_load(text(".github/workflows/tests.yml"))["jobs"]["fast"]["strategy"]["matrix"]["python"] == SUPPORTED
    )


def test_one_version():
    """scripts/stratamil/VERSION has it; pyproject.toml reads that, and the others say the same."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", stratamil.__version__)
    assert tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]["dynamic"]["version"] == {
        "file": "scripts/stratamil/VERSION"
    }
    assert yaml.safe_load(text("CITATION.cff"))["version"] == stratamil.__version__
    assert re.search(r"^## \[(.*?)\]", text("CHANGELOG.md"), re.MULTILINE)[1] in (stratamil.__version__, "Unreleased")


def test_the_changelog_has_four_kinds_of_change():
    headings = re.findall(r"^#+ .*$", text("CHANGELOG.md"), re.MULTILINE)
    assert set(re.findall(r"^### (.*)$", text("CHANGELOG.md"), re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Fixed",
        "Breaking",
    }
    assert all(re.match(r"# Changelog$|## \[(\d+\.\d+\.\d+|Unreleased)\]|### ", heading) for heading in headings)


def test_what_the_workflow_catalogue_asks_for():
    """Readme, Snakefile, rules and configuration where it looks for them, and how the workflow is deployed."""
    assert {"snakemake", "workflow"} <= set(text("README.md").lower().split())
    assert 'include: "../Snakefile"' in text("workflow/Snakefile") and list((REPOSITORY / "rules").glob("*.smk"))
    assert text("config/README.md").startswith("# Configuration")
    usage = yaml.safe_load(text(".snakemake-workflow-catalog.yml"))["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert usage["software-stack-deployment"]["conda"] and usage["software-stack-deployment"]["report"]
    assert (REPOSITORY / ".test/config/config.yaml").is_file()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_files_that_contributors_are_told_of_are_there(name):
    """What the recipes would make is called agreement or NAME; results are made by a run."""
    told = re.findall(r"`([\w./-]+\.(?:py|smk|yaml|yml|md|txt|rst|j2|cff)|[\w./-]+/|[\w./-]*VERSION)`", text(name))
    told += re.findall(r"\]\(([^):]+)\)", text(name))
    for path in told:
        made = "agreement" in path or "NAME" in path or path.startswith("results/") or "/" not in path
        assert made or (REPOSITORY / path).exists(), path


@pytest.mark.parametrize("version", SUPPORTED)
def test_every_pinned_package_takes_this_python(version):
    """As its own metadata say."""
    checked = 0
    for pin in pins("constraints.txt"):
        try:
            wanted = metadata(pin.partition("==")[0])["Requires-Python"]
        except PackageNotFoundError:  # of the test tools that are not installed
            continue
        checked += 1
        assert SpecifierSet(wanted or "").contains(f"{version}.0"), pin
    assert checked > 50
