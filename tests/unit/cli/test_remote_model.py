"""Commands whose model is a URL: a real server, over a tiny real model."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from handful.cli.main import main
from handful.config import Settings, settings
from handful.local import LocalModel, load
from handful.server.auth_state import Access
from handful.store.migrate import open_database
from handful.store.tokens import PREDICT, NewToken, Tokens
from handful.task.task import Task
from tests.unit.client.live import live
from tests.unit.model.tiny_models import checkpoint

TASK = Task(name="mood", labels=("positive", "negative"))


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    made = load(str(checkpoint("llama")), configuration=Settings(precision="float32", kv_memory_mb=16))
    yield made
    made.close()


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Shell:
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        self.monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    TASK.save(tmp_path / "mood.yaml")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield Shell(monkeypatch, capsys)
    settings.cache_clear()


def test_run_asks_the_server(shell: Shell, model: LocalModel) -> None:
    with live({"tiny": model}) as url:
        done = shell("run", "mood.yaml", "a good film", "--model", f"{url}/models/tiny", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    (here,) = TASK.predict(model, ["a good film"])
    assert record["prediction"] == here.prediction
    assert record["probabilities"] == pytest.approx(here.probabilities, abs=1e-4)


def test_prompt_counts_with_the_servers_tokenizer(shell: Shell, model: LocalModel) -> None:
    with live({"tiny": model}) as url:
        done = shell("prompt", "mood.yaml", "a good film", "--model", url, "--json")
    shown = json.loads(done.out)
    assert shown["num_prompt_tokens"] == model.count_tokens(shown["prompt"])
    assert shown["context_length"] == model.info.context_length


def test_the_token_comes_from_the_option_or_the_environment(
    shell: Shell, model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/accounts.db")
    _, secret = Tokens(database).create(NewToken(scopes=(PREDICT,)))
    access = Access.over(database, tokens_required=True)
    with live({"tiny": model}, access=access) as url:
        asked = ("run", "mood.yaml", "a good film", "--model", f"{url}/models/tiny")
        missing, wrong = shell(*asked), shell(*asked, "--token", "hf_wrong")
        assert (missing.code, "`--token` is missing" in missing.err) == (1, True)
        assert (wrong.code, "`--token` isn't accepted" in wrong.err) == (1, True)
        assert shell(*asked, "--token", secret).code == 0
        monkeypatch.setenv("HANDFUL_TOKEN", secret)
        settings.cache_clear()
        assert shell(*asked).code == 0
        assert secret not in repr(settings())
    database.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "mood.yaml", "a", "--model", "http://127.0.0.1:9/models/x", "--precision", "int8"), "`--precision`"),
        (("run", "mood.yaml", "a", "--model", "http://127.0.0.1:9/models/x", "--device", "cpu"), "`--device`"),
        (("run", "mood.yaml", "a", "--model", "http://user:secret@127.0.0.1:9"), "`url` must have no user"),
        (("run", "mood.yaml", "a", "--model", "ftp://x/y"), "`--model` is ftp://x/y, and of URLs only http and https"),
        (("prompt", "mood.yaml", "a", "--model", "ftp://x/y"), "only http and https are understood. Such as http://"),
        (("run", "mood.yaml", "a", "--token", "hf_x"), "`--token` is for"),
        (("prompt", "mood.yaml", "a", "--token", "hf_x"), "`--token` is for"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    done = shell(*arguments)
    assert (done.code, said in done.err) == (1, True), done.err
