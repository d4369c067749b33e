"""The house: one room for each thing, doors that open one way, and nothing too large to be read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import REPOSITORY

LIBRARY = REPOSITORY / "scripts/stratamil"
# A package may import those before it.
PACKAGES = (
    "core",
    "stats",
    "cohort",
    "features",
    "mil",
    "evaluation",
    "explain",
    "deploy",
    "report",
    "workflow",
    "demo",
)
MODULES = sorted(LIBRARY.rglob("*.py"))
SCRIPTS = sorted((REPOSITORY / "scripts").glob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imported(path: Path) -> set[tuple[str, str]]:
    """Return package and module of each import from the library."""
    imports = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stratamil."):
            _, package, *module = node.module.split(".")
            imports |= {(package, *module)} if module else {(package, alias.name) for alias in node.names}
    return imports


# What takes half a second or more to import; a program that is not named here imports none of it at its start.
SLOW = (
    "torch",
    "torchvision",
    "timm",
    "sklearn",
    "scipy.special",
    "scipy.stats",
    "scipy.optimize",
    "scipy.ndimage",
    "matplotlib",
)
STARTS_WITH = {
    "demo": {"scipy.ndimage"},
    "embed": {"torch"},
    "evaluate": {"torch"},
    "faithfulness": {"matplotlib"},
    "perturb": {"torch"},
    "predict": {"torch", "scipy.special"},
    "refit": {"torch"},
    "index": {"matplotlib"},
    "retrain": {"torch"},
    "train": {"torch"},
    "tune": {"torch"},
}


def at_start(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports when it is loaded, not within functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_program_starts_without_what_it_does_not_use(script):
    files, modules = [script], set()
    for file in files:  # grows while it is read
        for module in at_start(file):
            modules.add(module)
            ours = script.parent / f"{module.replace('.', '/')}.py"
            files += [ours] if ours.is_file() and ours not in files else []
    slow = {name for name in SLOW if any(f"{module}.".startswith(f"{name}.") for module in modules)}
    assert slow == STARTS_WITH.get(script.stem, set())


def test_packages_are_the_folders_and_no_module_lies_beside_them():
    assert {path.name for path in LIBRARY.iterdir() if path.is_dir()} - {"__pycache__"} == set(PACKAGES)
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]


def test_imports_go_one_way():
    inside = [path for path in MODULES if path.parent != LIBRARY]
    doors = {(path.parent.name, package, name(path)) for path in inside for package, _ in imported(path)}
    assert [door for door in doors if PACKAGES.index(door[1]) > PACKAGES.index(door[0])] == []


def test_no_module_imports_itself_through_others():
    graph = {(path.parent.name, path.stem): imported(path) for path in MODULES}
    left = dict(graph)
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert not left


def test_modules_and_functions_can_be_read():
    long = []
    for path in (*MODULES, *SCRIPTS):
        text = path.read_text()
        long += [name(path)] if text.count("\n") > 400 else []
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        long += [(name(path), node.name) for node in functions if node.end_lineno - node.lineno >= 60]
    assert long == []


def test_the_library_knows_neither_snakemake_nor_argparse():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {each.split(".")[0] for each in names} & {"snakemake", "argparse"}, name(path)


def test_no_test_imports_another():
    for path in (REPOSITORY / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [each for each in names if each.startswith("test_")], f"{name(path)}: tests/factories.py"
