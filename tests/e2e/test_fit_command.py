"""`handful fit` and what it makes, as people use it: processes, with a tiny model of random weights."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from handful import Task, load
from handful.config import Settings
from handful.learn.auto_prompts import Prompts
from handful.learn.ensemble import EnsemblePredictor
from handful.learn.evidence import Verdict
from handful.learn.folder import save_ready
from handful.learn.named import Ready
from handful.learn.representation import classes_of
from handful.learn.tuned_prompts import tune_prompts
from handful.task.task import Example
from handful.types import PrefixTuning
from tests.e2e.conftest import HANDFUL, serving
from tests.e2e.test_run_command import environment
from tests.unit.model.tiny_models import checkpoint

TASK = Task(
    name="films",
    input="the review: {text}",
    output="is: {output}",
    separator="\n",
    labels=("positive", "negative"),
)
ASKED = ["the film is good", "not a film", "a review of it"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, a task and 34 labelled texts a label."""
    shutil.copytree(checkpoint("llama"), tmp_path / "tiny")
    TASK.save(tmp_path / "films.yaml")
    rows = [f"{text},{label}" for text, label in labelled()]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    return tmp_path


def labelled() -> list[tuple[str, str]]:
    words = (("positive", "a good film"), ("negative", "not a review"))
    return [(f"{text} {number}", label) for number in range(34) for label, text in words]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*HANDFUL, *arguments]
    env = environment(HANDFUL_THREADS="1", HANDFUL_KV_MEMORY_MB="64")
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def answers(folder: Path, classifier: str) -> list[dict[str, Any]]:
    done = run(folder, "run", classifier, *ASKED, "--json", "--precision", "float32")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_labelled_rows_become_a_classifier_that_run_answers_from_and_tuned_prompts_are_tried(folder: Path) -> None:
    options = ("--model", "tiny", "--precision", "float32", "--output", "made", "--prompt-epochs", "1", "--json")
    done = run(folder, "fit", "films.yaml", "--data", "rows.csv", *options)
    assert done.returncode == 0, done.stderr
    choice = json.loads(done.stdout)["choice"]
    assert {one["recipe"] for one in choice["verdicts"]} >= {"logistic + calibrated", "tuned"}
    assert all(one["num_tried"] == 68 for one in choice["verdicts"])
    assert choice["expected"]["num_right"] > 60  # the words tell the label
    found = answers(folder, "made")
    assert [one["input"] for one in found] == ASKED
    assert {one["prediction"] for one in found} <= set(TASK.labels)


def test_tuned_prompts_answer_from_their_folder_in_other_processes_as_where_they_were_tuned(folder: Path) -> None:
    model = load(str(folder / "tiny"), configuration=Settings(precision="float32", kv_memory_mb=64))
    try:
        examples = [Example({"text": text}, label) for text, label in labelled()]
        shown = TASK.with_examples(examples)
        classes = classes_of([one.output for one in examples], TASK.labels)
        tuned = tune_prompts(Prompts(shown, model, {}, (), 0), classes, 8, PrefixTuning(num_epochs=2))
        predictor = EnsemblePredictor(tuned.members)
        expected = predictor.probabilities(ASKED)
        verdict = Verdict(recipe="tuned", num_right=60, num_tried=68, log_loss=0.5)
        save_ready(folder / "made", Ready("tuned", predictor, TASK), model, verdict)
    finally:
        model.close()
    from_the_command_line = answers(folder, "made")
    with serving("--model", str(folder / "tiny"), "--precision=float32", f"--task=films={folder / 'made'}") as server:
        from_http = httpx.post(f"{server.url}/tasks/films", json={"inputs": ASKED}, timeout=60).json()
    for found in (from_the_command_line, from_http):
        rows = [[one["probabilities"][label] for label in TASK.labels] for one in found]
        np.testing.assert_allclose(rows, expected, atol=1e-4)
