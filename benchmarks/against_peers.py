"""handful against other engines in one run, on the same prompts and token counts, in turns.

    python benchmarks/against_peers.py --output benchmarks/results/peers-default.json        (make bench-peers)
    python benchmarks/against_peers.py --model gpt-neo-125m-shape --output benchmarks/results/peers-gpt-neo-125m.json
    python benchmarks/against_peers.py --prepare          (environments and models only)

Every engine is a process of its own, loaded and warmed up once (not timed) and stopped while others work. A round has
examples and queries of its own, the same for all engines, so that each computes the prefix once a round, within the
time measured. handful gets texts and its peers token ids: only handful's tokenising is timed. Generating is greedy, the
end of text ignored. W2 is the probabilities of both labels in handful, each label scored in Transformers, and for the
others, which can't, the label and the end sequence generated. Rates are medians of rounds, ratios medians of each
round's ratio.

The result is written after each workload, and printed as one JSON document at the end.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from environment import machine
from handful.config import settings
from handful.model.source import resolve
from handful.model.tokenizer import Tokenizer
from peers.engines import ALL, USUAL, CannotRun, Launch, most_requests, prepare
from peers.figures import Figures, agreement
from peers.jobs import JOBS, Job, first_round, make_round
from peers.worker import Worker
from shapes import folder_of

REFERENCE = "handful-float32"
NUM_REFERENCE = 64
COMPARED = ("W1", "W5")  # long prompts and short ones: an engine may get only the latter right


def main() -> None:
    """Prepare, start the engines, run the workloads."""
    arguments = parse()
    not_run: dict[str, str] = {}
    launches = prepared(arguments, not_run)
    if arguments.prepare:
        print(json.dumps({"prepared": [launch.name for launch in launches], "not_run": not_run}))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the engines would stay behind, stopped
    run = Run(arguments, not_run)
    try:
        run.start(launches)
        run.all()
    finally:
        run.close()
    print(json.dumps(run.found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="default, one of the shapes, or a folder")
    parser.add_argument("--engines", nargs="+", default=list(USUAL), choices=ALL)
    parser.add_argument("--workloads", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--requests", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".peers"), help="where environments and models are kept")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--prepare", action="store_true")
    return parser.parse_args()


def prepared(arguments: argparse.Namespace, not_run: dict[str, str]) -> list[Launch]:
    """How to start each engine; those that can't run the model are noted with the reason."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    launches = []
    for name in arguments.engines:
        try:
            launches.append(prepare(name, arguments.model, arguments.folder))
        except CannotRun as reason:
            not_run[name] = str(reason)
    return launches


class Run:
    """The engines' processes and what they have shown so far."""

    def __init__(self, arguments: argparse.Namespace, not_run: dict[str, str]) -> None:
        self.arguments = arguments
        self.tokenizer = Tokenizer(resolve(folder_of(arguments.model), settings=settings()).folder)
        self.workers: dict[str, Worker] = {}
        self.first: dict[str, dict[str, list[list[int]]]] = {}
        self.found: dict[str, Any] = {"workload": "peers", "model": Path(arguments.model).name, **machine()}
        self.found |= {"rounds": arguments.rounds, "engines": {}, "not_run": not_run, "results": {}, "agreement": {}}

    def start(self, launches: list[Launch]) -> None:
        """Load the engines one after the other."""
        for launch in launches:
            self._start(launch)

    def all(self) -> None:
        """Every workload in turn."""
        for name in self.arguments.workloads:
            self.found["results"][name] = self._workload(name, JOBS[name])
            self._write()
        if self.first:
            self._agree()
            self._write()

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers.values():
            worker.close()

    def _start(self, launch: Launch) -> None:
        print(f"starting {launch.name}", file=sys.stderr)
        try:
            worker = self.workers[launch.name] = Worker(launch, self.arguments.folder)
            worker.run(first_round(launch.name, self.tokenizer))
        except CannotRun as reason:
            self._drop(launch.name, reason)
            return
        self.found["engines"][launch.name] = {"version": worker.version, "load_seconds": worker.load_seconds}

    def _drop(self, name: str, reason: CannotRun) -> None:
        print(f"{name} {reason}", file=sys.stderr)
        self.found["not_run"][name] = str(reason)
        self.workers.pop(name, None)

    def _workload(self, name: str, job: Job) -> dict[str, Any]:
        """Rounds in which all engines take turns."""
        figures = Figures(job)
        for number in range(self.arguments.rounds):
            for worker in list(self.workers.values()):
                if job.skips(worker.name):
                    continue
                try:
                    self._round(name, job, number, worker, figures)
                except CannotRun as reason:
                    self._drop(worker.name, reason)
        return figures.summary()

    def _round(self, name: str, job: Job, number: int, worker: Worker, figures: Figures) -> None:
        count = most_requests(worker.name, job.num_requests(self.arguments.requests))
        work = make_round(job, worker.name, count, number, self.tokenizer)
        if job.one_by_one:  # warm: the prefix has been seen, the queries have not
            worker.run(make_round(job, worker.name, 1, number, self.tokenizer, is_warming=True))
        seconds, tokens = worker.run(work, forget=not job.one_by_one)
        figures.add(worker.name, work, seconds)
        self.found["engines"][worker.name]["peak_memory_mb"] = worker.peak_mb()
        if name in COMPARED and number == 0:
            self.first.setdefault(name, {})[worker.name] = tokens
        print(f"{name} round {number + 1} {worker.name}: {figures.last(worker.name)}", file=sys.stderr, flush=True)

    def _agree(self) -> None:
        """Compare the first round's tokens with handful's own in float32."""
        launch = prepare(REFERENCE, self.arguments.model, self.arguments.folder)
        try:
            reference = Worker(launch, self.arguments.folder)
        except CannotRun as reason:
            self._drop(REFERENCE, reason)
            return
        count = min(NUM_REFERENCE, self.arguments.requests)
        for name, answers in self.first.items():
            _, tokens = reference.run(make_round(JOBS[name], REFERENCE, count, 0, self.tokenizer))
            self.found["agreement"][name] = {engine: agreement(tokens, theirs) for engine, theirs in answers.items()}
        reference.close()

    def _write(self) -> None:
        if self.arguments.output is not None:
            self.arguments.output.write_text(json.dumps(self.found) + "\n")


if __name__ == "__main__":
    main()
