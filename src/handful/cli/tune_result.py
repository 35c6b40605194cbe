"""What came out of `handful tune`: where it goes, and how it is told."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.cli.output import SCHEMA, harmless, json_line
from handful.errors import InvalidParameterError
from handful.evals.tune import Search, Standing
from handful.evals.tune_space import Candidate, Space
from handful.learn.evidence import Verdict
from handful.learn.folder import save_ready
from handful.task.problem import join_words

_MAX_TOLD = 5
_TASK_FILES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came out: `checked` are the task as it is and the best, on the rows that had no part in choosing."""

    search: Search
    checked: tuple[Standing, Standing]
    kept: Standing
    path: Path
    was_stopped: bool

    @property
    def ranked(self) -> list[Standing]:
        """All candidates, the best first."""
        return sorted(self.search.standings, key=lambda standing: standing.rank, reverse=True)


def _is_folder(space: Space) -> bool:
    """Whether the result is a classifier's folder: where a reading is tried that a task file can't hold."""
    return bool(space.beyond_a_task_file)


def output_of(space: Space, output: Path | None) -> Path:
    """Where the result goes. Raises InvalidParameterError for a file where a folder is written, or the reverse."""
    name = space.templates[0].name
    if not _is_folder(space):
        path = output or Path(f"{name}-tuned.yaml")
        if path.is_dir():
            raise InvalidParameterError("--output", f"is the folder {path}, and a task file is written.")
        return path
    path = output or Path(f"{name}-tuned")
    if path.suffix in _TASK_FILES or path.is_file():
        others = join_words(space.beyond_a_task_file)
        problem = f"names a file, and what {others} learn is a folder."
        raise InvalidParameterError("--output", problem, fix="Name a folder, or leave them out of --predictor.")
    return path


def save_kept(search: Search, kept: Standing, space: Space, path: Path) -> None:
    """Write the candidate that is kept: its task file, or its reading as a classifier's folder."""
    if not _is_folder(space):
        return kept.candidate.task.save(path)
    recipe = str(kept.candidate.made_of["predictor"])
    loss = sum(kept.losses) / len(kept.losses) if kept.losses else None
    expected = Verdict(recipe=recipe, num_right=sum(kept.right), num_tried=len(kept.right), log_loss=loss)
    return save_ready(path, search.reading(kept.candidate), search.backend, expected)


def tell_as_json(tuned: Tuned) -> None:
    """Print everything as one JSON object."""
    original, best = tuned.checked
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": tuned.search.original.candidate.task.name,
        "file": str(tuned.path),
        "kept": dict(tuned.kept.candidate.made_of),
        "is_the_original": tuned.kept is original,
        "original_on_unseen": original.to_dict(),
        "best_on_unseen": best.to_dict(),
        "searched": [standing.to_dict() for standing in tuned.ranked],
        "was_stopped": tuned.was_stopped,
    }
    sys.stdout.write(json_line(result))


def tell_people(tuned: Tuned) -> None:
    """Print the best candidates, and what was kept."""
    original, best = tuned.checked
    asked = [standing for standing in tuned.ranked if not standing.left_out]
    lines = ["the best on the rows that choose:"]
    lines += [f"  {described_standing(standing)}" for standing in asked[:_MAX_TOLD]]
    lines += _left_out(tuned.ranked)
    lines.append("on rows that had no part in choosing:")
    lines += [f"  as it is: {_share(original)}", f"  the best: {_share(best)}"]
    if tuned.kept is original:
        lines.append(f"nothing did better there; {tuned.path} is the task as it is")
    else:
        lines.append(f"{tuned.path}: {_described(tuned.kept.candidate)}")
        if tuned.kept.candidate.words:
            lines.append(f"its answers are now: {', '.join(tuned.kept.candidate.task.labels)}")
    for line in lines:
        print(harmless(line))


def _left_out(standings: list[Standing]) -> Iterator[str]:
    """Which readings had too few examples, each once."""
    reasons = {str(one.candidate.made_of["predictor"]): one.left_out for one in standings if one.left_out}
    for name, reason in sorted(reasons.items()):
        yield f"left out with some of the sets: {name}. {reason}"


def described_standing(standing: Standing) -> str:
    """A candidate in one line: how right it is so far, and what it is made of."""
    return f"{_share(standing)}  {_described(standing.candidate)}"


def _share(standing: Standing) -> str:
    low, high = standing.interval
    return f"{standing.accuracy:.1%} ({low:.0%} to {high:.0%}) of {len(standing.right)}"


def _described(candidate: Candidate) -> str:
    return ", ".join(f"{name} {value}" for name, value in candidate.made_of.items())
