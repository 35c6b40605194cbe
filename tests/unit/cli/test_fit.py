"""`handful fit` from its arguments to a folder that is answered from, with a model of known structure."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
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
from tests.unit.learn.tunable_model import TunableModel

TASK = task().with_examples(examples(2, start=1000))
Shell = Callable[..., tuple[int, str, str]]
FIT = ("fit", "t.yaml", "--data", "rows.csv")


@pytest.fixture
def backend() -> TunableModel:
    return TunableModel(tuned_signal=6.0)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backend: TunableModel
) -> Shell:
    TASK.save(tmp_path / "t.yaml")
    write_rows(tmp_path / "rows.csv", 40)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: backend)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def write_rows(path: Path, num_each: int, *more: str) -> None:
    rows = [f"{text},{label}" for label in LABELS for text in inputs(label, range(num_each))]
    path.write_text("\n".join(["text,label", *rows, *more]) + "\n", encoding="utf-8")


def test_a_classifier_is_made_told_of_and_can_be_run_and_served(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell(*FIT)
    assert (code, err) == (0, "")
    for said in (
        "learned from 84 texts: 42 bad, 42 good",  # the task's own four among them
        "right of held-out texts, their log loss, and the reading:",
        "  calibrated\n",
        "of 84 held-out examples",
        'handful run t "a text"',
        "handful serve --task t=t",
    ):
        assert said in out
    found = task_of(f"t={tmp_path / 't'}", lambda name: pytest.fail(f"{name} is not needed"))
    assert isinstance(found, ServedClassifier)
    assert (found.task.name, found.classes) == ("t", LABELS)
    code, out, err = shell("run", "t", "good 7", "bad 7", "--json")
    assert (code, len(out.splitlines())) == (0, 2), err


def test_prompts_are_tuned_where_that_is_asked_for_and_run_answers_behind_them(
    shell: Shell, backend: TunableModel
) -> None:
    code, out, err = shell(*FIT, "--output", "made", "--prompt-epochs", "2", "--json", "--seed", "5")
    assert code == 0, err
    told = json.loads(out)
    assert (told["schema"], told["task"], told["folder"]) == (1, "t", "made")
    assert told["num_learned"] == {"bad": 42, "good": 42}
    assert (told["choice"]["recipe"], told["choice"]["num_passes"]) == ("tuned", 3)
    assert [(one.num_epochs, one.seed) for _, _, _, one in backend.tunings] == [(2, 5), (2, 6), (2, 7)]
    code, out, err = shell("run", "made", "good 7", "bad 7", "--json")
    assert [json.loads(line)["prediction"] for line in out.splitlines()] == ["good", "bad"], err
    assert ("score_behind", 2) in backend.calls


def test_it_is_told_where_tuned_prompts_are_not_kept(shell: Shell, backend: TunableModel) -> None:
    assert "not kept" not in shell(*FIT, "--prompt-epochs", "1")[1]
    backend.tuned_signal = 0.0
    code, out, err = shell(*FIT, "--prompt-epochs", "1")
    assert code == 0, err
    assert "  tuned\nchosen: " in out
    assert "The tuned prompts are not kept: their log loss is no lower.\n" in out


def test_without_being_asked_nothing_is_tuned(shell: Shell, backend: TunableModel) -> None:
    assert shell(*FIT)[0] == 0
    assert backend.tunings == []


def test_an_encoder_is_tried_and_tuned_where_that_is_asked_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder = Rote()
    monkeypatch.setattr("handful.local.encoder.load_encoder", lambda name, device: encoder)
    code, out, err = shell(*FIT, "--encoder", encoder.name, "--encoder-steps", "3", "--json")
    assert code == 0, err
    assert "encoder" in {one["recipe"] for one in json.loads(out)["choice"]["verdicts"]}


def test_an_encoder_is_left_as_it_is_where_no_steps_are_named(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "rows.csv", 12)
    monkeypatch.setattr("handful.local.encoder.load_encoder", lambda name, device: NamedNgrams(dim=512))
    code, out, err = shell(*FIT, "--encoder", "ngrams", "--json")
    assert code == 0, err
    assert "encoder" in json.loads(out)["choice"]["recipe"]  # the words themselves tell the label
    assert json.loads(Path("t/classifier.json").read_text())["is_encoder_tuned"] is False


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_takes_minutes_is_shown_on_the_terminal_and_quiet_silences_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        code, out, _ = shell(*FIT, "--prompt-epochs", "1", *quiet)
        assert (code, "\x1b" in out) == (0, False)
        for said in ("loading default", "reading 84 labelled texts", "tuning prompts"):
            assert (said in terminal.getvalue()) == (not quiet)


def test_texts_that_are_given_twice_are_told_of_and_rows_that_are_the_tasks_examples_are_taken_once(
    shell: Shell, tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.csv", 5, "bad 1000,bad", "bad 1,good", "BAD  2,bad")
    code, out, err = shell(*FIT)
    assert code == 0
    assert "learned from 16 texts: 8 bad, 8 good" in out
    assert err == "warning: 2 texts are given twice, 1 of them with different labels, such as: bad 1\n"
    assert shell(*FIT, "--quiet")[2] == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--prompt-epochs", "5", "--model", "http://127.0.0.1:1/models/m"),
            "`--prompt-epochs` tunes a model in this process, and http://127.0.0.1:1/models/m is behind a URL. ",
        ),
        (("--output", "rows.csv"), "`--output` names the file rows.csv, and a classifier is a folder."),
        (
            ("--output", "full"),
            "`--output` names full, which holds mine.txt and no classifier. Remove that, or name another ",
        ),
        (("--output", "half"), "`--output` names half, which holds labels.jsonl of a `handful distill` that wasn't "),
        (("--output", "rows.csv/made"), "`--output` can't be made: nothing can be written to "),
        (("--label-names", "x"), "`--label-names` can't be 'x'"),
        (("--data", "few.csv", "--prompt-epochs", "5"), "Tuning prompts needs 32 examples of every label; the rarest"),
        (("--data", "none.csv"), "none.csv"),
    ],
)
def test_what_can_not_be_is_one_line_before_a_model_is_loaded(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: pytest.fail("loaded in vain"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "labels.jsonl").write_text("")
    write_rows(tmp_path / "few.csv", 5)
    code, out, err = shell(*FIT, *arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "t").exists()


def test_examples_that_do_not_fit_are_told_of_once_and_without_lines_of_python(
    shell: Shell, backend: TunableModel
) -> None:
    backend.info = replace(backend.info, context_length=200)
    told = "warning: some prompts were made without all of their examples, which didn't fit the model's context.\n"
    for command in (FIT, ("run", "t", "good 7", "bad 7"), ("run", "t", "--input", "rows.csv")):
        assert shell(*command)[2] == told
        assert shell(*command, "--quiet")[2] == ""


def test_steps_of_tuning_an_encoder_without_one_are_wrong_usage(shell: Shell) -> None:
    code, _, err = shell(*FIT, "--encoder-steps", "3")
    assert (code, err) == (
        2,
        "error: `--encoder-steps` needs --encoder. Add --encoder default-embeddings.\n",
    )


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many"])
def test_a_number_of_epochs_that_can_not_be_is_wrong_usage(shell: Shell, number: str) -> None:
    code, out, err = shell(*FIT, "--prompt-epochs", number)
    assert (code, out) == (2, "")
    assert "Invalid value for '--prompt-epochs'" in err


def test_a_task_without_labels_is_refused(shell: Shell, tmp_path: Path) -> None:
    task(labels=()).save(tmp_path / "t.yaml")
    code, _, err = shell(*FIT)
    assert (code, err) == (1, "error: The task `t` has no labels to tell apart. Give it `labels`.\n")


def test_a_label_without_any_text_is_named(shell: Shell, tmp_path: Path) -> None:
    task(labels=("bad", "good", "odd")).save(tmp_path / "t.yaml")
    code, _, err = shell(*FIT)
    assert (code, err.startswith("error: No example has the label `odd`.")) == (1, True)


def test_a_model_that_can_not_be_tuned_is_one_line_and_nothing_is_written(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: StructuredBackend())
    code, out, err = shell(*FIT, "--prompt-epochs", "5")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "`model` has no tuned prompts" in err
    assert not (tmp_path / "t").exists()


def test_a_failure_while_fitting_leaves_the_classifier_that_was_there(
    shell: Shell, backend: TunableModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert shell(*FIT)[0] == 0
    before = (tmp_path / "t" / "classifier.json").read_bytes()

    def broken(*_: object) -> None:
        raise EngineError("It broke.")

    monkeypatch.setattr(backend, "score", broken)
    assert shell(*FIT)[0] == 2
    assert (tmp_path / "t" / "classifier.json").read_bytes() == before
