"""`handful tune` from its arguments to a task file."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handful.cli import run as run_command
from handful.cli.main import main
from handful.evals.tune import Search, Step
from handful.local import encoder as encoder_module
from handful.task.task import Task
from tests.unit.learn.encoders import NamedNgrams
from tests.unit.learn.structured import LABELS, StructuredBackend, examples, inputs, task
from tests.unit.learn.tunable_model import TunableModel

OWN = task().with_examples(examples(2, start=1000)).replace(calibration="none")
Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def backend() -> StructuredBackend:
    return StructuredBackend(score_signal=2.0, bias=4.0)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backend: StructuredBackend
) -> Shell:
    OWN.save(tmp_path / "t.yaml")
    rows = [f"{text},{label}" for label in LABELS for text in inputs(label, range(100))]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: backend)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["handful", "tune", "t.yaml", "--data", "rows.csv", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_the_result_is_a_task_file(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell("--candidates", "8", "--shots", "2,4")
    assert code == 0, err
    tuned = Task.load(tmp_path / "t-tuned.yaml")
    assert (tuned.name, tuned.labels) == ("t", LABELS)
    assert tuned != OWN
    for said in ("the best on the rows that choose", "had no part in choosing", "t-tuned.yaml"):
        assert said in out


def test_json_has_every_candidate_and_what_was_kept(shell: Shell) -> None:
    code, out, err = shell("--candidates", "6", "--json", "--output", "better.yaml")
    assert code == 0, err
    told = json.loads(out)
    assert (told["schema"], told["task"], told["file"], told["was_stopped"]) == (1, "t", "better.yaml", False)
    assert len(told["searched"]) == 6
    assert told["best_on_unseen"]["accuracy"] >= told["original_on_unseen"]["accuracy"] or told["is_the_original"]


def test_a_dry_run_says_what_it_costs_and_writes_nothing(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell("--candidates", "8", "--dry-run")
    assert code == 0, err
    assert "8 candidates" in out
    assert "calls" in out
    assert "tokens" in out
    assert "seconds" in out or "minutes" in out
    told = json.loads(shell("--dry-run", "--json")[1])
    assert told["num_calls"] > 0
    assert not (tmp_path / "t-tuned.yaml").exists()


def test_a_reading_that_no_task_file_holds_becomes_a_folder_that_run_answers_with(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backend: StructuredBackend,
) -> None:
    backend.signals = (0.0, 2.0)
    code, out, err = shell(
        "--shots", "16", "--sets", "1", "--orders", "1", "--predictor", "task,knn,centroid", "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert (told["file"], told["kept"]["predictor"]) == ("t-tuned", "centroid")
    monkeypatch.setattr(sys, "argv", ["handful", "run", "t-tuned", "good 7", "bad 7", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (ended.value.code or 0, [one["prediction"] for one in answers]) == (0, ["good", "bad"])
    assert all(sum(one["probabilities"].values()) == pytest.approx(1.0) for one in answers)


def test_readings_with_too_few_examples_are_told_of_once(shell: Shell) -> None:
    code, out, err = shell("--shots", "2,4", "--predictor", "plain,knn")
    assert code == 0, err
    assert out.count("left out with some of the sets: knn. kNN needs 3 examples of every label") == 1


def test_the_task_as_it_is_becomes_a_folder_too_where_nothing_beat_it(shell: Shell, tmp_path: Path) -> None:
    code, out, err = shell("--candidates", "2", "--predictor", "channel", "--json")
    assert code == 0, err
    assert json.loads(out)["kept"]["predictor"] in ("plain", "channel")
    assert (tmp_path / "t-tuned" / "classifier.json").exists()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_the_best_so_far_on_the_terminal_and_quiet_silences_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for quiet in ((), ("--quiet",)):
        monkeypatch.setattr(sys, "stderr", terminal := _Terminal())
        code, out, _ = shell("--candidates", "4", *quiet)
        assert (code, "\x1b" in out) == (0, False)
        for said in ("best ", "predictor", "4 candidates"):
            assert (said in terminal.getvalue()) == (not quiet)


def test_ctrl_c_keeps_the_best_so_far(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = Search.run

    def interrupted(search: Search) -> Iterator[Step]:
        for number, step in enumerate(whole(search)):
            if number == 8:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(Search, "run", interrupted)
    code, out, err = shell("--candidates", "12", "--json")
    assert (code, "stopped" in err) == (0, True)
    told = json.loads(out)
    assert told["was_stopped"] is True
    assert Task.load(tmp_path / "t-tuned.yaml").name == "t"


def test_ctrl_c_before_anything_was_asked_is_an_interruption(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(search: Search) -> Iterator[Step]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Search, "run", interrupted)
    assert shell("--candidates", "4")[0] == 130
    assert not (tmp_path / "t-tuned.yaml").exists()


def test_nearest_examples_and_an_encoder_are_searched_and_run_answers_with_the_best(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: StructuredBackend
) -> None:
    opened: list[str] = []

    def load(name: str, **options: object) -> NamedNgrams:
        opened.append(name)
        return NamedNgrams(name, dim=1024)

    monkeypatch.setattr(encoder_module, "load_encoder", load)
    backend.signals = (0.0, 0.0)  # the model knows nothing
    asked = ("--shots", "24", "--predictor", "nearest,nearest by encoder,encoder", "--output", "made")
    code, out, err = shell(*asked, "--dry-run")
    assert (code, opened, "calls" in out) == (0, [], True), err  # nothing is fetched to say what it costs
    code, out, err = shell(*asked, "--json")
    assert (code, opened) == (0, ["default-embeddings"]), err
    assert json.loads(out)["kept"]["predictor"] == "encoder"
    assert json.loads((tmp_path / "made" / "classifier.json").read_text())["encoder"]["name"] == "default-embeddings"
    monkeypatch.setattr(sys, "argv", ["handful", "run", "made", "good 7", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert opened == ["default-embeddings"] * 2


def test_free_text_that_nearest_examples_answer_becomes_a_folder(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    OWN.replace(labels=(), calibration="auto").save(tmp_path / "t.yaml")
    code, _, err = shell("--shots", "24", "--predictor", "generate,nearest", "--candidates", "3", "--output", "made")
    assert code == 0, err
    monkeypatch.setattr(sys, "argv", ["handful", "run", "made", "good 7", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert json.loads(capsys.readouterr().out)["input"] == "good 7"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--words", "nice=x"), "`nice`, which is no label"),
        (("--words", "good"), "`--words` can't be"),
        (("--shots", "-1"), "`--shots`"),
        (("--shots", "a"), "`--shots`"),
        (("--variant", "other.yaml"), "other labels or variables"),
        (("--data", "none.csv"), "none.csv"),
        (("--encoder", "default-embeddings"), "no reading that is tried needs it"),
        (("--predictor", "nearest", "--output", "better.yaml"), "what `nearest` learn is a folder"),
        (("--predictor", "knnn"), "Did you mean `knn`"),
        (("--predictor", "generate"), "`--predictor` can't be `generate`"),
        (("--predictor", "knn", "--output", "better.yaml"), "what `knn` learn is a folder"),
        (("--output", "."), "is the folder"),
    ],
)
def test_what_cannot_be_done_is_named(shell: Shell, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    Task(name="other", labels=("x", "y")).save(tmp_path / "other.yaml")
    code, _, err = shell(*arguments)
    assert (code, said in err) == (1, True), err


def test_tuned_prompts_are_searched_saved_and_answered_with(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = TunableModel(tuned_signal=6.0)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: model)
    arguments = ("--shots", "64", "--sets", "1", "--orders", "1", "--predictor", "task,tuned", "--prompt-epochs", "1")
    told = json.loads(shell(*arguments, "--dry-run", "--json")[1])
    assert (told["num_learned"], model.tunings) == (2 * (64 + 4), [])  # that of 64, and the task's own examples
    assert "tuning prompts reads 136 examples" in shell(*arguments, "--dry-run")[1]
    code, out, err = shell(*arguments, "--json")
    assert code == 0, err
    assert json.loads(out)["kept"]["predictor"] == "tuned"
    assert {settings.num_epochs for _, _, _, settings in model.tunings} == {1}
    monkeypatch.setattr(sys, "argv", ["handful", "run", "t-tuned", "good 7", "bad 7", "--json"])
    with pytest.raises(SystemExit):
        main()
    answers = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    assert answers == ["good", "bad"]
    assert ("score_behind", 2) in model.calls


def test_prompts_of_a_model_behind_a_url_are_not_tuned(shell: Shell) -> None:
    code, _, err = shell("--predictor", "tuned", "--shots", "64", "--model", "http://127.0.0.1:1/models/m")
    assert (code, err.count("\n")) == (1, 1)
    assert "`--model` is behind a URL, and `tuned` tunes the prompts of a model in this process" in err
