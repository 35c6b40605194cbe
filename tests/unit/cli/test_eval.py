"""`handful eval`, `sweep` and `compare` from their arguments to their exit codes, with a model of no weights."""

import io
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handful.cli import run as run_command
from handful.cli.main import main
from handful.evals import extras
from handful.local import encoder as encoder_module
from tests.fakes import FakeBackend
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, inputs
from tests.unit.learn.tunable_model import TunableModel

MOOD = "name: mood\ninput: 'Say: {text}'\noutput: 'Mood: {output}'\nlabels: [good, bad]\n"
OTHER = MOOD.replace("Say", "Text").replace("name: mood", "name: other")
SHOUT = "name: shout\ninput: 'Say: {text}'\noutput: 'Loud: {output}'\nparameters: {max_new_tokens: 30}\n"
OWN = MOOD + "examples:\n  - {text: lovely, output: good}\n  - {text: awful, output: bad}\n"


def by_first_word(prompt: str, continuation: str) -> float:
    """Right where the query starts with its label."""
    query = prompt.rsplit("\n", 2)[-2].removeprefix("Say: ").removeprefix("Text: ")
    return -0.1 if query.startswith(continuation.strip()) else -2.0


@dataclass
class Shell:
    """Runs the command line in a folder of its own. `opened` has the models that were opened."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    backend: FakeBackend = field(default_factory=lambda: FakeBackend(logprob=by_first_word))
    opened: list[str] = field(default_factory=list)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        def open_fake(name: str, **options: object) -> FakeBackend:
            self.opened.append(name)
            return self.backend

        self.monkeypatch.setattr(run_command, "open_backend", open_fake)
        self.monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name, text in (("mood", MOOD), ("other", OTHER), ("shout", SHOUT), ("own", OWN)):
        (tmp_path / f"{name}.yaml").write_text(text)
    rows = [f"{label} day number {i},{label}" for i in range(12) for label in ("good", "bad")]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\nsad day,bad\n")
    (tmp_path / "loud.csv").write_text("text,output\nhello,HELLO\nbye,bye\n")
    return Shell(monkeypatch, capsys)


def test_a_task_as_it_stands_is_measured_on_all_rows(shell: Shell) -> None:
    code, out, err = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    assert code == 0
    assert "task           2  0.960 [" in out
    assert "run/report.html" in err
    assert {path.name for path in Path("run").iterdir()} == {
        *("run.json", "records.jsonl", "cells.jsonl", "summary.csv", "summary.json", "report.html", "figures")
    }
    assert len(Path("run/records.jsonl").read_text().splitlines()) == 25


def test_curves_of_several_predictors_and_wordings_are_one_json_object(shell: Shell) -> None:
    code, out, _ = shell(
        *("eval", "mood.yaml", "--data", "rows.csv", "--shots", "0,2,4", "--seeds", "2", "--orders", "2"),
        *("--predictor", "plain,contextual", "--variant", "other.yaml", "--output", "run", "--json", "--quiet"),
    )
    found = json.loads(out)
    assert (code, found["schema"], found["metric"]) == (0, 1, "accuracy")
    settings = {(row["template"], row["predictor"], row["shots"]) for row in found["rows"]}
    assert len(settings) == len(found["rows"]) == 2 * 2 * 3
    assert {row["num_orders"] for row in found["rows"]} == {1, 2}


def test_the_same_command_again_asks_nothing_and_says_the_same(shell: Shell) -> None:
    arguments = ("eval", "own.yaml", "--data", "rows.csv", "--output", "run", "--json")
    _, first, _ = shell(*arguments)
    code, second, err = shell(*arguments)
    assert (code, second) == (0, first)
    assert "25 records are there already" in err
    assert shell.opened == ["default"]


def test_the_report_is_made_anew_from_records_alone(shell: Shell) -> None:
    _, first, _ = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run", "--json")
    page = Path("run/report.html").read_bytes()
    for path in ("run/report.html", "run/summary.csv", "rows.csv", "own.yaml"):
        Path(path).unlink()
    code, second, _ = shell("eval", "--from", "run", "--json", "--fail-under", "0.9")
    assert (code, second) == (0, first)
    assert Path("run/report.html").read_bytes() == page
    assert shell.opened == ["default"]


@pytest.mark.parametrize(("share", "code"), [("0.9", 0), ("0.96", 0), ("0.97", 1)])
def test_fail_under_decides_the_exit_code_after_the_report_is_written(shell: Shell, share: str, code: int) -> None:
    found, _, err = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run", "--fail-under", share)
    assert found == code
    assert ("error: the best accuracy is 0.9600, below 0.97" in err) == (code == 1)
    assert Path("run/report.html").exists()


def test_a_share_that_is_just_reached_is_not_failed_for_its_last_bit(shell: Shell) -> None:
    shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    reached = json.loads(Path("run/summary.json").read_text())["rows"][0]["metrics"]["accuracy"]["mean"]
    for share, code in ((reached + 1e-12, 0), (reached + 1e-6, 1)):
        assert shell("eval", "--from", "run", "--quiet", "--fail-under", repr(share))[0] == code


def test_a_free_text_task_has_exact_match_chrf_and_bleu(shell: Shell) -> None:
    code, out, _ = shell("eval", "shout.yaml", "--data", "loud.csv", "--output", "run", "--json")
    (row,) = json.loads(out)["rows"]
    assert code == 0
    assert row["predictor"] == "generate"
    assert set(row["metrics"]) == {"exact_match", "chrf", "bleu"}
    assert row["metrics"]["exact_match"]["mean"] == 0.5


def test_few_shot_that_is_worse_than_zero_shot_is_told(shell: Shell) -> None:
    def confused(prompt: str, continuation: str) -> float:
        return by_first_word(prompt, continuation) if "###" not in prompt else -float(len(continuation))

    shell.backend.logprob = confused
    _, out, _ = shell("eval", "mood.yaml", "--data", "rows.csv", "--shots", "0,2", "--seeds", "2", "--output", "run")
    assert "Few-shot is worse than zero-shot: task with 2 shots" in out


def test_a_query_without_an_answer_is_told_and_ends_with_1(shell: Shell) -> None:
    shell.backend = FakeBackend(context_length=60, logprob=by_first_word)
    with Path("rows.csv").open("a") as file:
        file.write("good " * 20 + ",good\n")
    code, out, err = shell("eval", "mood.yaml", "--data", "rows.csv", "--output", "run")
    assert code == 1
    assert "1 queries could not be answered; they count as wrong" in out
    assert "error: 1 queries could not be answered" in err


def test_a_token_is_in_no_file(shell: Shell) -> None:
    arguments = ("eval", "own.yaml", "--data", "rows.csv", "--model", "http://127.0.0.1:1/models/m", "--output", "run")
    assert shell(*arguments, "--token", "secret-1")[0] == 0
    assert shell(*arguments, "--overwrite", "--token=secret-1")[0] == 0
    assert shell.opened == ["http://127.0.0.1:1/models/m"] * 2
    for path in Path("run").rglob("*"):
        assert not path.is_file() or b"secret-1" not in path.read_bytes()
    assert "--token=..." in Path("run/run.json").read_text()


def test_names_of_labels_and_columns(shell: Shell) -> None:
    Path("n.csv").write_text("body,class\ngood day,1\nbad day,0\n")
    columns = ("--text-column", "body", "--label-column", "class", "--label-names", "0=bad, 1=good")
    code, out, _ = shell("eval", "mood.yaml", "--data", "n.csv", *columns, "--output", "run", "--json")
    assert code == 0
    assert json.loads(out)["best"]["mean"] == 1.0


def test_readings_by_nearest_examples_and_an_encoder_are_measured_beside_others(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "load_encoder", lambda name, **options: NamedNgrams(name, dim=1024))
    asked = ("eval", "mood.yaml", "--data", "rows.csv", "--shots", "10", "--seeds", "1", "--output", "run", "--json")
    code, out, err = shell(*asked, "--predictor", "plain,nearest,nearest by encoder,encoder")
    assert code == 0, err
    rows = {row["predictor"]: row for row in json.loads(out)["rows"]}
    assert set(rows) == {"plain", "nearest", "nearest by encoder", "encoder"}
    assert json.loads(Path("run/run.json").read_text())["plan"]["encoder"] == "default-embeddings"
    code, _, err = shell(*asked, "--predictor", "plain,nearest,nearest by encoder,encoder", "--encoder", "another")
    assert (code, "encoder" in err) == (1, True)


def test_a_task_yaml_of_the_harness_is_measured(shell: Shell) -> None:
    Path("harness.yaml").write_text(
        'task: mood\ndoc_to_text: "{{text}}\\nMood:"\ndoc_to_target: label\ndoc_to_choice: [bad, good]\n'
    )
    Path("n.jsonl").write_text('{"text": "good day", "label": 1}\n{"text": "bad day", "label": 0}\n')
    code, out, _ = shell("eval", "harness.yaml", "--data", "n.jsonl", "--output", "run", "--json")
    assert code == 0
    assert json.loads(out)["best"]["mean"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mood.yaml", "--data", "empty.csv", "--output", "run"), "empty.csv has no rows"),
        (("mood.yaml", "--data", "none.csv", "--output", "run"), "no data file none.csv"),
        (("mood.yaml", "--data", "rows.csv", "--text-column", "body", "--output", "run"), "no column `body`"),
        (("mood.yaml", "--data", "rows.csv", "--shots", "2,x", "--output", "run"), "`--shots` holds 'x'"),
        (("mood.yaml", "--data", "rows.csv", "--shots", "2,2", "--output", "run"), "`--shots` names a value twice"),
        (("mood.yaml", "--data", "rows.csv", "--shots", "-1", "--output", "run"), "`--shots` must be"),
        (("mood.yaml", "--data", "rows.csv", "--shots", "64", "--output", "run"), "too few for 32"),
        (("mood.yaml", "--data", "rows.csv", "--predictor", "magic", "--output", "run"), "`magic`"),
        (("mood.yaml", "--data", "rows.csv", "--variant", "mood.yaml", "--output", "run"), "Two tasks are named"),
        (("mood.yaml", "--data", "rows.csv", "--variant", "shout.yaml", "--output", "run"), "no other wording"),
        (("mood.yaml", "--data", "rows.csv", "--label-names", "0", "--output", "run"), "Write 0=negative"),
        (("mood.yaml", "--data", "rows.csv", "--fail-under", "80", "--output", "run"), "Write 0.8 for 80%"),
        (("mood.yaml", "--data", "one.csv", "--output", "run"), "All 2 rows of one.csv have the label `good`"),
        (("mood.yaml", "--data", "nothing.csv", "--output", "run"), "nothing.csv has no rows. Give a file"),
        (("mood.yaml", "--data", "wrong.csv", "--output", "run"), "wrong.csv, line 3: `goud` is no label"),
        (("mood.yaml", "--data", "wrong.csv", "--output", "run"), "Did you mean `good`?"),
        (("mood.yaml", "--data", "cells.jsonl", "--output", "run"), "cells.jsonl, line 1: The value of `text` must be"),
        (("mood.yaml", "--data", "rare.csv", "--shots", "4", "--output", "run"), "1 row labelled `bad`: too few for 2"),
        (("none.yaml", "--data", "rows.csv", "--output", "run"), "no task file none.yaml"),
        (("--from", "nowhere"), "holds no evaluation"),
    ],
)
def test_what_can_not_be_done_is_one_line_with_a_way_out(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    Path("empty.csv").write_text("text,label\n")
    Path("one.csv").write_text("text,label\na,good\nb,good\n")
    Path("nothing.csv").touch()
    Path("wrong.csv").write_text("text,label\na,good\nb,goud\n")
    Path("cells.jsonl").write_text('{"text": 5, "label": "good"}\n')
    Path("rare.csv").write_text("text,label\na,good\nb,good\nc,good\nd,good\ne,bad\n")
    code, out, err = shell("eval", *arguments)
    assert (code, out) == (1, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert shell.opened == []


@pytest.mark.parametrize("command", ["eval", "sweep"])
def test_without_a_task_the_help_is_shown(shell: Shell, command: str) -> None:
    code, out, err = shell(command)
    assert code == 2
    assert "--data" in out + err


def test_another_plan_in_the_same_folder_is_refused_and_overwrite_starts_afresh(shell: Shell) -> None:
    shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    arguments = ("eval", "own.yaml", "--data", "rows.csv", "--limit", "5", "--output", "run")
    code, _, err = shell(*arguments)
    assert code == 1
    assert "run was written with another `limit` and `num_queries`." in err
    code, _, _ = shell(*arguments, "--overwrite")
    assert code == 0
    assert len(Path("run/records.jsonl").read_text().splitlines()) == 5


def test_an_interrupted_run_says_that_it_continues(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(shell.backend, "score", interrupt)
    code, out, err = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    assert (code, out) == (130, "")
    assert "0 records are kept; the same command continues" in err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_on_the_terminal_and_one_option_silences_it(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        name = "quiet" if quiet else "loud"
        code, out, _ = shell("eval", "own.yaml", "--data", "rows.csv", "--output", name, *quiet)
        assert code == 0
        assert "\x1b" not in out
        assert ("queries/s" in terminal.getvalue()) == (not quiet)
        assert ("report.html" in terminal.getvalue()) == (not quiet)


def test_a_sweeps_progress_is_on_the_terminal_and_one_option_silences_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        name = "quiet" if quiet else "loud"
        code, out, _ = shell("sweep", "shout.yaml", "--data", "loud.csv", "--output", name, *quiet)
        assert (code, "\x1b" in out) == (0, False)
        assert ("queries/s" in terminal.getvalue()) == (not quiet)


def test_nothing_moves_where_standard_error_is_no_terminal(shell: Shell) -> None:
    _, _, err = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    assert "queries/s" not in err
    assert "\x1b" not in err


def test_without_matplotlib_nothing_is_asked_in_vain(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    code, _, err = shell("eval", "own.yaml", "--data", "rows.csv", "--output", "run")
    assert code == 1
    assert "matplotlib" in err
    assert shell.opened == []


def test_two_runs_are_compared_with_interval_and_changed_answers(shell: Shell) -> None:
    shell("eval", "own.yaml", "--data", "rows.csv", "--predictor", "plain", "--output", "first")
    shell.backend = FakeBackend(logprob=lambda prompt, continuation: -float(len(continuation)))  # always "bad"
    shell("eval", "own.yaml", "--data", "rows.csv", "--predictor", "plain", "--output", "second")
    code, out, err = shell("compare", "first", "second", "--changes", "2")
    assert (code, err) == (0, "")
    assert "worse" in out
    assert "2 of 13 changed answers" in out
    assert "- good day number 0  [good]  'good' -> 'bad'" in out
    code, out, _ = shell("compare", "first", "second", "--json")
    assert len(json.loads(out)["rows"][0]["changes"]) == 13
    code, _, err = shell("compare", "first", "nowhere")
    assert code == 1
    assert "holds no evaluation" in err


def test_a_sweep_is_a_grid_with_samples_and_can_be_shown_again(shell: Shell) -> None:
    arguments = ("--temperature", "0,1", "--max-new-tokens", "3,30", "--end-sequence", "###", "--end-sequence", r"\n")
    code, out, err = shell("sweep", "shout.yaml", "--data", "loud.csv", *arguments, "--output", "grid")
    assert code == 0
    assert len(out.splitlines()) == 2 + 8
    assert r'"\n"' in out
    assert "grid/report.html" in err
    code, shown, _ = shell("sweep", "--from", "grid", "--json", "--quiet")
    assert code == 0
    assert len(json.loads(shown)["rows"]) == 8
    assert shell("sweep", "shout.yaml", "--data", "loud.csv", *arguments, "--output", "grid")[0] == 0
    assert shell.opened == ["default"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("eval", "mood.yaml", "--output", "run"), "`--data` is missing"),
        (("eval", "mood.yaml", "--data", "rows.csv"), "`--output` is missing"),
        (("eval", "mood.yaml", "--data", "a.csv", "--train", "b.csv", "--output", "run"), "`--train` needs --shots"),
        (("eval", "--from", "nowhere", "--shots", "2"), "`--shots` has no meaning with --from"),
        (("eval", "mood.yaml", "--from", "nowhere"), "`TASK` has no meaning with --from"),
        (("sweep", "shout.yaml", "--data", "loud.csv"), "`--output` is missing"),
        (("sweep", "shout.yaml", "--output", "grid"), "`--data` is missing"),
    ],
)
def test_options_that_are_missing_or_do_not_go_together_are_wrong_usage(
    shell: Shell, arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = shell(*arguments)
    assert (code, out, len(err.splitlines()), shell.opened) == (2, "", 1, [])
    assert told in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("mood.yaml", "--data", "rows.csv", "--output", "grid"), "has labels"),
        (("shout.yaml", "--data", "loud.csv", "--temperature", "warm", "--output", "grid"), "`--temperature` holds"),
        (("shout.yaml", "--data", "loud.csv", "--temperature", "-1", "--output", "grid"), "`temperature` must be"),
        (("--from", "nowhere"), "holds no evaluation"),
    ],
)
def test_a_sweep_that_can_not_be_made_is_one_line(shell: Shell, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = shell("sweep", *arguments)
    assert (code, out) == (1, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert shell.opened == []


def test_tuned_prompts_are_measured_beside_others_as_often_as_they_are_told(shell: Shell) -> None:
    shell.backend = model = TunableModel(tuned_signal=6.0)
    rows = [f"{text},{label}" for label in LABELS for text in inputs(label, range(50))]
    Path("many.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    Path("t.yaml").write_text("input: 'Text: {text}'\noutput: 'Label: {output}'\nlabels: [bad, good]\n")
    arguments = ("eval", "t.yaml", "--data", "many.csv", "--shots", "8,64", "--seeds", "1", "--output", "run", "--json")
    code, out, err = shell(*arguments, "--predictor", "auto,tuned", "--prompt-epochs", "2")
    assert code == 0, err
    found = {(row["predictor"], row["shots"]): row["metrics"]["accuracy"] for row in json.loads(out)["rows"]}
    assert set(found) == {("auto", 8), ("auto", 64), ("tuned", 64)}  # 4 examples a label are too few to tune with
    assert found["tuned", 64]["mean"] > found["auto", 64]["mean"]
    assert {settings.num_epochs for _, _, _, settings in model.tunings} == {2}
    code, _, err = shell(*arguments, "--predictor", "auto,tuned", "--prompt-epochs", "3")
    assert (code, "--prompt-epochs" in err or "prompt_epochs" in err) == (1, True)  # another run


@pytest.mark.parametrize("command", ["eval", "tune"])
def test_the_steps_of_tuning_prompts_have_a_bar_while_they_last(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shell.backend = TunableModel(tuned_signal=6.0)
    rows = [f"{text},{label}" for label in LABELS for text in inputs(label, range(60))]
    Path("many.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    Path("t.yaml").write_text("input: 'Text: {text}'\noutput: 'Label: {output}'\nlabels: [bad, good]\n")
    once = {"eval": ("--seeds", "1", "--output", "run"), "tune": ("--sets", "1", "--orders", "1", "--output", "made")}
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        arguments = ("t.yaml", "--data", "many.csv", "--shots", "64", "--predictor", "tuned", *once[command])
        assert shell(command, *arguments, *quiet, *(("--overwrite",) if command == "eval" else ()))[0] == 0
        assert ("tuning prompts" in terminal.getvalue()) == (not quiet)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--prompt-epochs", "2"), "`--prompt-epochs` has no effect"),
        (("--predictor", "tuned", "--model", "http://127.0.0.1:1/models/m"), "`--model` is behind a URL, and `tuned`"),
        (("--predictor", "tuned", "--prompt-epochs", "0"), "Input should be greater than or equal to 1"),
        (("--predictor", "tuned", "--prompt-epochs", "-1"), "Input should be greater than or equal to 1"),
    ],
)
def test_tuning_that_can_not_be_is_refused_before_anything_is_asked(
    shell: Shell, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = shell("eval", "own.yaml", "--data", "rows.csv", "--shots", "2", "--output", "run", *arguments)
    assert (code, out, shell.opened) == (2 if says.startswith("Input") else 1, "", [])
    assert says in " ".join(err.replace("│", " ").split())
    assert not Path("run").exists()
