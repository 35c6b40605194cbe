"""lm-evaluation-harness over a server against its own Transformers backend: a task's accuracy must be the same.

    python -m pip install "lm-eval[api,hf]==0.4.13"
    python benchmarks/lm_eval_check.py [--model default] [--questions 64]

Its `local-completions` sends token ids and reads their echo's log-probabilities. Both sides compute in float32. The
task is of our own making: short film reviews of known labels, many of them turned round. Nothing is downloaded but the
model, where it isn't there yet. The exit status is 1 if an accuracy differs, or a log-probability by more than 0.001.

The last line printed is one JSON document.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from environment import machine
from handful.config import settings
from handful.model.source import resolve
from over_http import address
from shapes import folder_of

TASK = "handful_reviews"
CLOSE = 1e-3  # natural log-probability of an answer, float32
WORDS = {
    "positive": ("a joy", "never dull", "no waste of time", "anything but a mess", "far from painful", "moving"),
    "negative": ("dull", "no joy", "anything but clever", "far from moving", "never funny", "tired"),
}
PARTS = ("The film", "The plot", "Its ending", "The acting", "The music", "Every scene", "The dialogue", "Her new film")


def main() -> int:
    """The same task twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--questions", type=int, default=64)
    arguments = parser.parse_args()
    if not find_spec("lm_eval"):
        raise SystemExit('lm-evaluation-harness is missing: python -m pip install "lm-eval[api,hf]==0.4.13"')
    where = machine()
    model = str(resolve(folder_of(arguments.model), settings=settings()).folder)
    with tempfile.TemporaryDirectory() as made:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": made, "TOKENIZERS_PARALLELISM": "false"}
        write_task(Path(made), arguments.questions)
        transformers = evaluated("hf", {"pretrained": model, "dtype": "float32", "device": "cpu"}, made)
        served = over_server(model, made)
    apart = max(abs(a - b) for a, b in zip(transformers.pop("logprobs"), served.pop("logprobs"), strict=True))
    found = {"transformers": transformers, "handful": served, "most_logprobs_apart": float(f"{apart:.2g}")}
    found |= {"workload": "lm-eval", "model": arguments.model, "questions": arguments.questions}
    print(json.dumps(found | where))
    return 0 if transformers == served and apart < CLOSE else 1


def write_task(folder: Path, count: int) -> None:
    """A task file as the harness reads them, and its questions, the same every time."""
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        label = draw.choice(tuple(WORDS))
        rows.append({"review": f"{draw.choice(PARTS)} is {draw.choice(WORDS[label])}.", "label": label})
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Review: {{review}}\nSentiment:",
        "doc_to_choice": list(WORDS),
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    (folder / "task.yaml").write_text(json.dumps(task))  # JSON is YAML


def over_server(model: str, tasks: str) -> dict[str, Any]:
    """The task through `handful serve`."""
    command = [sys.executable, "-m", "handful.cli", "serve", "--port", "0"]
    command += ["--model", f"checked={model}", "--precision", "float32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            url = address(process)
            while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
                time.sleep(0.2)
            asked = {"model": "checked", "base_url": f"{url}/v1/completions", "tokenizer": model}
            return evaluated("local-completions", asked | {"tokenizer_backend": "huggingface"}, tasks)
        finally:
            process.terminate()


def evaluated(backend: str, model: dict[str, Any], tasks: str) -> dict[str, Any]:
    """Accuracies, and the log-probability of each answer in the order of the questions."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=tasks, include_defaults=False)
    made = lm_eval.simple_evaluate(
        backend, model_args=model, tasks=[TASK], task_manager=manager, batch_size=8, bootstrap_iters=0
    )
    result = made["results"][TASK]
    samples = sorted(made["samples"][TASK], key=lambda sample: sample["doc_id"])
    logprobs = [float(answer[0]) for sample in samples for answer in sample["filtered_resps"]]
    return {name: result[f"{name},none"] for name in ("acc", "acc_norm")} | {"logprobs": logprobs}


if __name__ == "__main__":
    sys.exit(main())
