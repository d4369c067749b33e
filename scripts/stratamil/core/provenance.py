"""Where a result comes from: code, library versions, machine."""

import ast
import hashlib
import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SCRIPTS = Path(__file__).parents[2]
LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "h5py", "snakemake")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that numbers depend on."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def commit() -> str | None:
    """Return the git commit of this code, with "+" if files were changed since; None outside a repository."""
    here = Path(__file__).parent
    try:
        asked = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(asked, capture_output=True, encoding="utf-8", check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def code_digest(*modules: str) -> str:
    """Return the SHA-256 of the code behind results that are kept for a later run.

    modules: files (`__file__`) of the library. What they import counts, too, except for `core`: it reads, writes and
    reports, and decides no number.
    """
    digest = hashlib.sha256()
    for path in dict.fromkeys(file for module in modules for file in closure(Path(module), SCRIPTS)):
        if "core" not in path.relative_to(SCRIPTS).parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def closure(path: Path, root: Path) -> list[Path]:
    """Return a Python file and every module below `root` that it imports, directly or not, in the order found.

    A package counts with its __init__.py. Imports within functions count, too; modules outside `root` do not.
    """
    files = {path: None}
    waiting = [path]
    for file in waiting:  # grows while it is read
        found = [module for module in _imported(file, root, file.stat().st_mtime_ns) if module not in files]
        files |= dict.fromkeys(found)
        waiting += found
    return list(files)


@cache
def _imported(path: Path, root: Path, mtime_ns: int) -> list[Path]:
    """Return the files below `root` that one file imports, each after the packages that it lies in.

    Kept, because a dry run asks for the same modules once a rule: a third of its time before.
    """
    here, there = path.relative_to(root).parts, _modules(root)
    modules = []
    for level, names in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        parts = (*here[:-level], *names) if level else names  # relative: one dot is the file's own package
        for depth in range(1, len(parts) + 1):
            modules += there.get(parts[:depth], [])
    return list(dict.fromkeys(modules))


@cache
def _modules(root: Path) -> dict[tuple[str, ...], list[Path]]:
    """Return the parts of each importable name below `root` -> its file; a module of a package's name is both."""
    found = defaultdict(list)
    for path in sorted(root.rglob("*.py"), key=lambda path: path.name == "__init__.py"):
        parts = path.relative_to(root).with_suffix("").parts
        found[parts[:-1] if parts[-1] == "__init__" else parts].append(path)
    return found


def _imports(node: ast.AST) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the imports of a Python text: dots at the head, and the parts of the name."""
    for statement in _statements(node):
        if isinstance(statement, ast.Import):
            yield from ((0, tuple(alias.name.split("."))) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            origin = tuple(statement.module.split(".")) if statement.module else ()
            yield statement.level, origin
            yield from ((statement.level, (*origin, alias.name)) for alias in statement.names)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield every statement below a node: `ast.walk` would visit expressions, too, ten times as many."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        children = getattr(node, field, [])
        for child in children if isinstance(children, list) else []:
            if isinstance(child, ast.stmt):
                yield child
            yield from _statements(child)
