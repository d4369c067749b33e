"""Where a result comes from: code, library versions, machine."""

import ast
import hashlib
import platform
import subprocess
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
    files = [path]
    for file in files:  # grows while it is read
        files += [module for module in dict.fromkeys(_imported(file, root)) if module not in files]
    return files


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that one file imports, each after the packages that it lies in."""
    here = path.relative_to(root).parts
    for level, names in _imports(path.read_text(encoding="utf-8")):
        parts = (*here[:-level], *names) if level else names  # relative: one dot is the file's own package
        for depth in range(1, len(parts) + 1):
            module = root.joinpath(*parts[:depth])
            yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


@cache
def _imports(text: str) -> list[tuple[int, tuple[str, ...]]]:
    """Return the imports of a Python text: dots at the head, and the parts of the name.

    Kept, because a dry run asks for the same modules once a rule, and parsing them was half of its time.
    """
    imports = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports += [(0, tuple(alias.name.split("."))) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = tuple(node.module.split(".")) if node.module else ()
            imports += [(node.level, origin), *((node.level, (*origin, alias.name)) for alias in node.names)]
    return list(dict.fromkeys(imports))
