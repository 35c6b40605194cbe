"""A model behind a real `handful serve` is used as one in this process; a saved classifier is served as a task."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import handful
from handful.backend import Backend
from tests.e2e.conftest import EXAMPLES, HANDFUL, Server, serving
from tests.unit.model.tiny_models import checkpoint

TEXTS = ["What a joy.", "I left before the end.", "The sound was bad, the story good."]


def test_the_default_model_gives_the_same_there(default_model: Backend, server: Server) -> None:
    parameters = handful.GenerationParameters(max_new_tokens=8, stop=("\n",))
    prompts = ["English: cheese\nFrench: fromage\n\nEnglish: bread\nFrench:"]
    with handful.connect(server.model_url) as model:
        assert model.info.hidden_size == default_model.info.hidden_size
        here, there = default_model.generate(prompts, parameters), model.generate(prompts, parameters)
        assert here[0].completions == there[0].completions
        assert "".join(e.text for e in model.stream(prompts[0], parameters)) == here[0].completions[0].text
        task = handful.Task.load(EXAMPLES / "sentiment.yaml")
        for one, other in zip(task.predict(default_model, TEXTS), task.predict(model, TEXTS), strict=True):
            assert other.prediction == one.prediction
            assert other.probabilities == pytest.approx(one.probabilities, abs=1e-4)
        assert np.abs(model.embed(TEXTS) - default_model.embed(TEXTS)).max() < 1e-2


def test_the_command_line_takes_its_url(server: Server) -> None:
    command = [*HANDFUL, "run", str(EXAMPLES / "sentiment.yaml"), *TEXTS, "--model", server.model_url, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["input"] for line in done.stdout.splitlines()] == TEXTS


def test_a_saved_classifier_is_served_as_a_task(tmp_path: Path) -> None:
    folder = str(checkpoint("llama"))
    texts = [f"the {word} film {i}" for i in range(8) for word in ("good", "bad")]
    model = handful.load(folder, precision="float32")
    fitted = handful.FewShotClassifier(model).fit(texts, ["positive", "negative"] * 8)
    fitted.save(tmp_path / "mood")
    wanted = fitted.predict_proba(TEXTS)
    model.close()
    arguments = (f"--model={folder}", "--precision=float32", f"--task=feeling={tmp_path / 'mood'}")
    with serving(*arguments) as running, handful.Client(running.url) as client:
        answers = client.predict("feeling", TEXTS)
    found = np.array([list((answer.probabilities or {}).values()) for answer in answers])
    assert list(answers[0].probabilities or {}) == list(fitted.classes_)
    assert np.abs(found - wanted).max() < 1e-3
