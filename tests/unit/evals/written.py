"""Finished runs for the tests of what is made of records: every answer is chosen, no model is asked."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from handful import Task
from handful.evals.cells import COORDINATES
from handful.evals.journal import Journal, Run

TASK = Task(name="mood", input="Review: {text}", output="Mood: {output}", labels=("good", "bad"))
OPEN = Task(name="shout", input="In: {text}", output="Out: {output}")
CONTEXT = {"versions": {"handful": "0", "python": "3"}, "command": "handful eval mood.yaml --data '<rows>.csv'"}

Answer = Callable[[dict[str, Any], int], dict[str, Any]]


def cell(shots: int = 0, set: int = 0, order: int = 0, **others: str) -> dict[str, Any]:  # noqa: A002  a record's key
    given = {"model": "m", "template": "mood", "predictor": "plain"} | others
    return given | {"shots": shots, "set": set, "order": order}


def right(confidence: float = 0.9) -> dict[str, Any]:
    return {"prediction": "good", "probabilities": {"good": confidence, "bad": 1 - confidence}}


def wrong(confidence: float = 0.9) -> dict[str, Any]:
    return {"prediction": "bad", "probabilities": {"good": 1 - confidence, "bad": confidence}}


def write(
    folder: Path,
    cells: Sequence[dict[str, Any]],
    answer: Answer,
    *,
    task: Task = TASK,
    expected: Callable[[int], str] = lambda item: "good",
    num_queries: int = 10,
    **plan: Any,
) -> Path:
    """A run of these cells, answered by `answer(cell, item)`; finished."""
    given = {"task": task.to_dict(), "labels": list(task.labels), "num_leaked": 0, **plan}
    run = Run(kind="eval", coordinates=COORDINATES, plan=given, context=CONTEXT)
    with Journal(folder, run) as journal:
        for one in cells:
            if "left_out" not in one:
                journal.append(
                    {**one, "item": i, "input": f"text {i}", "expected": expected(i), **answer(one, i)}
                    for i in range(num_queries)
                )
            facts = {"examples": [], "note": "", "prompt": "Review: a\nMood:", "num_timed": num_queries, "seconds": 2.0}
            journal.finish({**facts, **one})
    return folder
