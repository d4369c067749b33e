"""Seconds and memory of commands, measured in turns, so that a busy machine slows all of them alike."""

import os
import statistics
import subprocess
import sys
import time


def cores() -> int:
    """Return the number of cores that this process may use; all of the machine where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def paired(repeats, *commands, cwd=None):
    """Run each command in turn, `repeats` times. Returns for each [(seconds, peak MB of memory)]."""
    results = [[] for _ in commands]
    for _ in range(repeats):
        for command, result in zip(commands, results):
            result.append(run(command, cwd))
    return results


def run(command, cwd=None):
    """(seconds, peak MB) of a command; its output is dropped. Exits where it fails."""
    begin = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=cwd)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f"{command[0]}: failed\n{error.decode()[-2000:]}")
    return seconds, usage.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def cpu(command):
    """Seconds of user and system time of a command on one thread; its output is dropped."""
    single = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, env=single)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command}: failed")
    return usage.ru_utime + usage.ru_stime


def seconds(results):
    """Median seconds of one command's results."""
    return statistics.median(spent for spent, _ in results)


def ratio(results, reference):
    """Median, least and most of the ratios of seconds, pair by pair."""
    return spread(a / b for (a, _), (b, _) in zip(results, reference))


def spread(values):
    """Median, least and most."""
    values = sorted(values)
    return statistics.median(values), values[0], values[-1]


def verdict(value, limit):
    """`value` against what is promised, in words."""
    return f"within {limit:g}" if value <= limit else f"OVER {limit:g}"


def goal(value, least):
    """`value` against the least that is promised, in words."""
    return f"reaches {least:g}" if value >= least else f"BELOW {least:g}"
