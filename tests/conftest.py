"""Puts the scripts and the library on the path, as a script's own folder is when it runs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
