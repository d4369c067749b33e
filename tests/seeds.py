"""The seed of what is random in tests: it stands at the head of a run, and STRATAMIL_SEED gives it again."""

import os
import time

SEED = int(os.environ.setdefault("STRATAMIL_SEED", str(time.time_ns() % 10**6)))
