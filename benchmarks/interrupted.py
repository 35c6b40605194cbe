"""A large file through `handful run`, killed again and again: every line must be answered once, in order.

    python benchmarks/interrupted.py [--lines 10000] [--kills 5] [--model default]

The run is a process of its own, with the model given. It is killed (SIGKILL, which no program can answer) when some
share of the lines is written, and started again with the same command until it ends by itself. The exit status is 1 if
a line is missing, answered twice or out of place.

The last line printed is one JSON document.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from environment import machine

TASK = Path(__file__).parent.parent / "examples" / "sentiment.yaml"
WORDS = ("fine", "dull", "lovely", "broken", "slow", "clever", "sad", "warm", "noisy", "brave", "film", "meal", "phone")
MOST_MINUTES = 30


@dataclass(frozen=True)
class Run:
    """One command, and where its records go."""

    command: list[str]
    output: Path

    def lines(self) -> int:
        """Lines written so far."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def until(self, lines: int) -> int | None:
        """Start, and kill once this many lines are written. The exit status, if it ended by itself."""
        process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + MOST_MINUTES * 60
        while process.poll() is None and self.lines() < lines and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
            process.wait()
            return None
        return process.returncode


def main() -> int:
    """Kill, go on, and count."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        texts = some_texts(arguments.lines)
        given = Path(folder) / "in.txt"
        given.write_text("\n".join(texts) + "\n")
        run = Run([*command(arguments, given), "--output", f"{folder}/out.jsonl"], Path(folder) / "out.jsonl")
        start = time.perf_counter()
        written = kill_and_go_on(run, arguments)
        seconds = time.perf_counter() - start
        answered = [json.loads(line)["input"] for line in run.output.read_text().splitlines()]
    once = answered == texts
    print(
        json.dumps(
            found(arguments, {"killed_at_lines": written, "seconds": round(seconds, 1), "every_line_once": once})
        )
    )
    return 0 if once else 1


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--model", default="default")
    return parser.parse_args()


def some_texts(count: int) -> list[str]:
    """Different short texts, the same every time."""
    draw = random.Random(0)
    return [f"{' '.join(draw.choices(WORDS, k=draw.randint(3, 12)))} {number}" for number in range(count)]


def command(arguments: argparse.Namespace, given: Path) -> list[str]:
    """The run as a person would type it."""
    return [sys.executable, "-m", "handful.cli", "run", str(TASK), "--input", str(given), "--model", arguments.model]


def kill_and_go_on(run: Run, arguments: argparse.Namespace) -> list[int]:
    """How many lines were there at each kill."""
    written = []
    for kill in range(1, arguments.kills + 1):
        if run.until(arguments.lines * kill // (arguments.kills + 1)) is not None:
            raise SystemExit("the run ended before it was killed")
        written.append(run.lines())
    if run.until(arguments.lines * 2):
        raise SystemExit("the last run failed")
    return written


def found(arguments: argparse.Namespace, counted: dict[str, object]) -> dict[str, object]:
    """The result, with where it ran."""
    return {"workload": "interrupted", "model": arguments.model, "lines": arguments.lines, **counted, **machine()}


if __name__ == "__main__":
    sys.exit(main())
