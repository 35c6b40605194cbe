"""W4: from the start of a process to its first prediction, the model on disk; peak memory.

Each round is a new process: `handful run` on one text with the example task. The last line is one JSON document.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from environment import PRECISIONS, processor
from shapes import folder_of

TASK = Path(__file__).parent.parent / "examples" / "sentiment.yaml"


def main() -> None:
    """Start processes one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "handful.cli", "run", str(TASK), "What a joy.", "--json"]
    command += ["--model", folder_of(arguments.model), "--precision", arguments.precision]
    seconds, peaks = [], []
    for _ in range(arguments.rounds):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        seconds.append(time.perf_counter() - start)
        peaks.append(usage_mb(usage))
    found = {
        "workload": "W4 cold",
        "model": arguments.model,
        "precision": arguments.precision,
        "processor": processor(),
        "seconds_to_first_prediction": round(statistics.median(seconds), 2),
        "peak_memory_mb": round(statistics.median(peaks)),
        "rounds": arguments.rounds,
    }
    print(json.dumps(found))


def usage_mb(usage: resource.struct_rusage) -> float:
    """Peak resident memory in MB (Linux counts it in KiB)."""
    return usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
