"""`handful distill` from its arguments to a folder that is served, with a model of known structure."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handful.cli import run as run_command
from handful.cli.main import main
from handful.errors import EngineError
from handful.server.classifier import ServedClassifier
from handful.server.sources import task_of
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable import Rote

TASK = task().with_examples(examples(2, start=1000))
Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backend() -> StructuredBackend:
    return StructuredBackend(score_signal=3.0)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backend: StructuredBackend
) -> Shell:
    TASK.save(tmp_path / "t.yaml")
    texts = [text for label in LABELS for text in inputs(label, range(100))]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    truth = [f"{text},{label}" for label in LABELS for text in inputs(label, range(300, 320))]
    (tmp_path / "truth.csv").write_text("text,label\n" + "\n".join(truth) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: backend)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["handful", "distill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_a_classifier_is_made_told_of_and_can_be_served(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell("t.yaml", "-u", "texts.txt", "--labelled", "truth.csv", "--output", "made")
    assert code == 0, err
    for said in (
        "200 texts labelled",
        "learned from",
        "agrees with the prompt on",
        "accuracy: prompt",
        "queries a sec",
    ):
        assert said in out
    assert "handful serve --task t=made" in out
    found = task_of(f"t={tmp_path / 'made'}", lambda name: pytest.fail(f"{name} is not needed"))
    assert isinstance(found, ServedClassifier)
    assert (found.task.name, found.classes) == ("t", LABELS)


def test_with_an_encoder_no_language_model_is_needed_afterwards(
    shell: Shell, backend: StructuredBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = NamedNgrams()
    monkeypatch.setattr("handful.local.encoder.load_encoder", lambda name, device: encoder)
    code, out, err = shell("t.yaml", "-u", "texts.txt", "--encoder", "ngrams", "--labelled", "truth.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"]["classifier"]["share"] > 0.9
    assert ("embed", 1) not in backend.calls
    found = task_of(f"t={tmp_path / 't'}", lambda name: encoder)
    assert isinstance(found, ServedClassifier)
    assert found.task.model is None


def test_the_encoder_is_tuned_on_what_is_learned_and_served_so(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = Rote(signal=3.0)
    monkeypatch.setattr("handful.local.encoder.load_encoder", lambda name, device: encoder)
    code, out, err = shell("t.yaml", "-u", "texts.txt", "--encoder", "rote", "--encoder-steps", "3", "--json")
    assert code == 0, err
    assert [settings.num_steps for _, settings in encoder.tunings] == [3]
    assert encoder.tunings[0][0] == sum(json.loads(out)["num_learned"].values())
    found = task_of(f"t={tmp_path / 't'}", lambda name: Rote(signal=3.0))
    assert isinstance(found, ServedClassifier)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_on_the_terminal_and_one_option_silences_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        code, out, _ = shell("t.yaml", "-u", "texts.txt", "--output", "quiet" if quiet else "loud", *quiet)
        assert (code, "\x1b" in out) == (0, False)
        assert (" rows" in terminal.getvalue()) == (not quiet)
    _, _, err = shell("t.yaml", "-u", "texts.txt", "--output", "redirected")
    assert " rows" not in err
    assert "\x1b" not in err


def test_json_has_the_figures(shell: Shell) -> None:
    code, out, err = shell("t.yaml", "-u", "texts.txt", "--labelled", "truth.csv", "--json", "--confidence", "0.8")
    assert code == 0, err
    told = json.loads(out)
    assert (told["schema"], told["task"], told["folder"], told["num_texts"]) == (1, "t", "t", 200)
    assert set(told["num_learned"]) == set(LABELS)
    assert told["accuracy"]["classifier"]["num_tried"] == 40


def test_an_interrupted_labelling_goes_on(
    shell: Shell, backend: StructuredBackend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, calls = backend.score, iter([True, True])  # what calibrates the task, and the first batch

    def score_once(*arguments: object) -> object:
        if next(calls, False):
            return whole(*arguments)  # type: ignore[arg-type]
        raise EngineError("The power went.")

    monkeypatch.setattr(backend, "score", score_once)
    assert shell("t.yaml", "-u", "texts.txt")[0] == 2
    assert len((tmp_path / "t" / "labels.jsonl").read_text().splitlines()) == 64
    monkeypatch.setattr(backend, "score", whole)
    backend.calls.clear()
    code, out, err = shell("t.yaml", "-u", "texts.txt")
    assert code == 0, err
    assert sum(count for method, count in backend.calls if method == "score" and count > 1) < 200
    assert "200 texts labelled" in out


def test_a_row_that_cannot_be_answered_is_counted_and_left_out(shell: Shell, tmp_path: Path) -> None:
    with (tmp_path / "texts.txt").open("ab") as file:
        file.write(b"\xff\xfe\n")
    _, out, _ = shell("t.yaml", "-u", "texts.txt", "--json")
    told = json.loads(out)
    assert (told["num_texts"], told["num_errors"]) == (200, 1)


def test_labels_that_the_labelled_rows_call_otherwise_can_be_named(shell: Shell, tmp_path: Path) -> None:
    truth = (tmp_path / "truth.csv").read_text(encoding="utf-8")
    (tmp_path / "numbers.csv").write_text(truth.replace(",bad", ",0").replace(",good", ",1"), encoding="utf-8")
    rows = ("-u", "texts.txt", "--labelled", "numbers.csv", "--label-names", "0=bad,1=good")
    code, out, err = shell("t.yaml", *rows, "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"]["prompt"]["num_tried"] == 40


def test_where_the_prompt_is_sure_of_too_few_the_labels_are_kept_and_the_way_on_is_told(
    shell: Shell, backend: StructuredBackend
) -> None:
    asked = ("t.yaml", "-u", "texts.txt", "--output", "made")
    code, _, err = shell(*asked, "--confidence", "0.999")
    assert (code, err.count("\n")) == (1, 1)
    assert "The labels are kept in made/labels.jsonl: the same command with a lower --confidence goes on" in err
    backend.calls.clear()
    code, out, err = shell(*asked, "--confidence", "0.5")
    assert (code, "200 texts labelled" in out) == (0, True), err
    assert sum(count for method, count in backend.calls if method == "score" and count > 1) < 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("t.yaml", "-u", "none.txt"), "none.txt can't be read"),
        (("t.yaml", "-u", "empty.txt"), "has no text"),
        (("open.yaml", "-u", "texts.txt"), "no labels"),
        (("t.yaml", "-u", "texts.txt", "--labelled", "wrong.csv"), "`nice` is no label"),
        (("t.yaml", "-u", "two.txt"), "Lower the confidence"),
    ],
)
def test_what_cannot_be_done_is_told(shell: Shell, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "two.txt").write_text("bad 1\ngood 2\n")
    (tmp_path / "open.yaml").write_text("name: open\n")
    (tmp_path / "wrong.csv").write_text("text,label\na,nice\nb,bad\n")
    code, _, err = shell(*arguments)
    assert (code, said in err) == (1, True), err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--label-column", "x"), "`--label-column` needs"),
        (("--label-names", "0=bad"), "`--label-names` needs"),
        (("--encoder", "x", "--behind", "query"), "`--behind` is for"),
        (("--encoder-steps", "5"), "`--encoder-steps` needs"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = shell("t.yaml", "-u", "texts.txt", *arguments)
    assert (code, said in err) == (2, True), err
