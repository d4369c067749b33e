"""Lets a test fill the memory of a running training: Python imports this where its folder is on PYTHONPATH."""

import sys
import threading
import time
from pathlib import Path


def wait_and_fill():
    while not Path("hog").exists():
        time.sleep(0.05)
    filled = b"x" * 2 * 10**9
    time.sleep(60)
    del filled


if sys.argv[:1] == ["scripts/train.py"] or "scripts/train.py" in getattr(sys, "orig_argv", []):
    threading.Thread(target=wait_and_fill, daemon=True).start()
