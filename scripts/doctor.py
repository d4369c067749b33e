"""Check this machine and environment for StrataMIL: a line each, `ok`, `--` (optional) or `!!` (needed) and what to do.

Paste what it prints into a bug report: it has no user name, no home folder and no token. The exit status is 1 if
something that is needed is wrong. It needs no package, so it works where the environment is broken, too.
"""

import argparse
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", nargs="+", type=Path, default=[], help="as for snakemake")
    return parser.parse_args()


def main(args: argparse.Namespace) -> int:
    """Print the lines; return the exit status."""
    # here, for an old Python cannot read the library
    import stratamil
    from stratamil.core import provenance
    from stratamil.core.errors import UserError, visible
    from stratamil.workflow import doctor
    from stratamil.workflow.machine import Line

    def show(text: object) -> None:
        print(visible(doctor.shareable(str(text), ROOT)), flush=True)

    commit = (provenance.commit() or "no commit")[:12]
    show(f"StrataMIL {stratamil.__version__} ({commit}), {platform.system()} {platform.release()} {platform.machine()}")
    study, wrong = doctor.Study(configfiles=tuple(args.configfile)), []
    try:
        study = doctor.read_study(ROOT, args.configfile)
    except ImportError as error:
        show(Line("note", "config", f"not read ({error}): see packages"))
    except UserError as error:
        wrong += [Line("wrong", "config", problem) for problem in error.problems]
        for line in wrong:
            show(line)
    for name, check in doctor.checks(ROOT, study).items():
        for line in doctor.examine(name, check):
            show(line)
            wrong += [line] if line.state == "wrong" else []
    names = ", ".join(dict.fromkeys(line.name for line in wrong))
    show(f"To mend: {names}." if wrong else "Nothing that is needed is missing.")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (the Python of the machine, not that of the environment)
        sys.exit(f"!!  Python: {platform.python_version()}, 3.11 or newer is needed: make PYTHON=python3.13 doctor")
    sys.exit(main(arguments()))
