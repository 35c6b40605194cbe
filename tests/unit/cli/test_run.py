"""`handful run` from its arguments to its exit code, with a model of no weights."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handful.cli import run as run_command
from handful.cli.main import main
from handful.cli.records import sidecar_path
from handful.errors import EngineError
from handful.learn.evidence import Verdict
from handful.learn.folder import save_ready
from handful.learn.named import make_ready
from handful.task.task import Example, Task
from tests.fakes import FakeBackend

OPEN_TASK = "name: shout\ninput: 'Say: {text}'\noutput: 'Loud: {output}'\nparameters: {max_new_tokens: 30}\n"
CLOSED_TASK = "name: mood\ninput: 'Say: {text}'\nlabels: [good, bad]\n"
PAIR_TASK = "name: pair\ninput: '{left} and: {right}'\nparameters: {max_new_tokens: 30}\n"


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Shell:
    """Runs the command line in a folder of its own. `backend` answers; `num_loads` counts how often it was opened."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    backend: FakeBackend = field(default_factory=FakeBackend)
    opened: list[dict[str, object]] = field(default_factory=list)

    def __call__(self, *arguments: str, stdin: bytes | None = None, is_terminal: bool = False) -> Outcome:
        def open_fake(name: str, **options: object) -> FakeBackend:
            self.opened.append({"name": name, **options})
            return self.backend

        self.monkeypatch.setattr(run_command, "open_backend", open_fake)
        self.monkeypatch.setattr(sys, "argv", ["handful", *arguments])
        source = _Terminal(b"") if is_terminal else io.BytesIO(stdin or b"")
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    made = Shell(tmp_path, monkeypatch, capsys)
    made.write("shout.yaml", OPEN_TASK)
    made.write("mood.yaml", CLOSED_TASK)
    made.write("pair.yaml", PAIR_TASK)
    monkeypatch.chdir(tmp_path)
    return made


def test_texts_are_answered_in_order_as_json(shell: Shell) -> None:
    done = shell("run", "shout.yaml", "one", "two", "--json")
    assert (done.code, done.err) == (0, "")
    assert [(r["input"], r["prediction"], r["completion"], r["finish_reason"]) for r in done.records] == [
        ("one", "ONE", " ONE\n", "stop_sequence"),
        ("two", "TWO", " TWO\n", "stop_sequence"),
    ]


def test_labels_come_with_probabilities(shell: Shell) -> None:
    [record] = shell("run", "mood.yaml", "one", "--json").records
    assert sum(record["probabilities"].values()) == pytest.approx(1.0)
    assert record["prediction"] == max(record["probabilities"], key=record["probabilities"].get)


def test_without_json_the_answer_stands_below_the_input(shell: Shell) -> None:
    assert shell("run", "shout.yaml", "one").out == "one\n  ONE\n"


def test_without_a_task_help_with_examples_is_shown(shell: Shell) -> None:
    done = shell("run")
    assert done.code == 2
    assert "handful run examples/sentiment.yaml" in done.err + done.out


def test_standard_input_is_a_text_a_line(shell: Shell) -> None:
    done = shell("run", "shout.yaml", "--json", stdin="é\r\ntwo".encode())
    assert [record["input"] for record in done.records] == ["é", "two"]


def test_nothing_to_predict_on_a_terminal_is_told(shell: Shell) -> None:
    done = shell("run", "shout.yaml", is_terminal=True)
    assert done.code == 1
    assert "There is nothing to predict." in done.err


def test_empty_input_gives_no_records_and_loads_no_model(shell: Shell) -> None:
    done = shell("run", "shout.yaml", "--json", stdin=b"")
    assert (done.code, done.out, shell.opened) == (0, "", [])
    assert done.err == "warning: there are no rows, so there is nothing to predict.\n"
    assert shell("run", "shout.yaml", "--json", "--quiet", stdin=b"").err == ""


def test_a_csv_is_read_by_its_column(shell: Shell) -> None:
    shell.write("in.csv", 'id,text,other\n1,"a, b",x\n2,"c\nd",y\n')
    done = shell("run", "shout.yaml", "--input", "in.csv", "--json")
    assert [record["input"] for record in done.records] == ["a, b", "c\nd"]


def test_a_column_may_be_named(shell: Shell) -> None:
    shell.write("in.csv", "id,text,other\n1,a,x\n")
    done = shell("run", "shout.yaml", "--input", "in.csv", "--column", "other", "--json")
    assert [record["input"] for record in done.records] == ["x"]


def test_a_missing_column_is_named_with_those_there_are(shell: Shell) -> None:
    shell.write("in.csv", "id,txt\n1,a\n")
    done = shell("run", "shout.yaml", "--input", "in.csv")
    assert done.code == 1
    assert done.err.startswith(
        "error: The CSV has no column `text`. The columns are `id` and `txt`. Did you mean `txt`?"
    )


def test_several_variables_come_from_columns_keys_or_json_arguments(shell: Shell) -> None:
    shell.write("in.csv", "right,left\nr,l\n")
    shell.write("in.jsonl", '{"left": "l", "right": "r", "id": 7}\n')
    asked = [["--input", "in.csv"], ["--input", "in.jsonl"], ['{"left": "l", "right": "r"}']]
    outputs = [shell("run", "pair.yaml", "--json", *arguments).records for arguments in asked]
    assert outputs[0] == outputs[1] == outputs[2]
    assert outputs[0][0]["input"] == {"left": "l", "right": "r"}


def test_jsonl_is_objects_or_plain_texts(shell: Shell) -> None:
    shell.write("in.jsonl", '{"text": "a"}\n\n"b"\n{"input": "c"}\n')
    done = shell("run", "shout.yaml", "--input", "in.jsonl", "--json")
    assert [record["input"] for record in done.records] == ["a", "b", "c"]


def test_format_overrides_the_extension(shell: Shell) -> None:
    shell.write("in.dat", '"a"\n')
    assert shell("run", "shout.yaml", "--input", "in.dat", "--format", "jsonl", "--json").records[0]["input"] == "a"


def test_an_unknown_extension_asks_for_the_format(shell: Shell) -> None:
    shell.write("in.dat", "a\n")
    told = "Known are `.txt`, `.csv`, `.tsv`, `.jsonl` and `.ndjson`; for a file of another name add --format."
    assert told in shell("run", "shout.yaml", "--input", "in.dat").err


def test_a_tsv_is_read_by_its_column_and_a_quote_in_it_is_a_character(shell: Shell) -> None:
    shell.write("in.tsv", 'n\ttext\r\n1\ta "b\r\n2\tc\td\r\n3\te, f;\r\n')
    done = shell("run", "shout.yaml", "--input", "in.tsv", "--json")
    assert [record["prediction"] for record in done.records] == ['A "B', None, "E, F;"]
    assert done.records[1]["error"] == "line 3: has 3 cells where the header has 2"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("in.txt", "hello\n".encode("utf-16"), "The input is UTF-16 text. Save the file as UTF-8."),
        ("in.csv", "text,n\nab,1\n".encode("utf-16"), "The input is UTF-16 text. Save the file as UTF-8."),
        ("in.csv", b"text;n\nab;1\n", "The CSV's header `text;n` has semicolons and no commas. Save it with commas"),
        ("in.csv", b"text\tn\nab\t1\n", "has tabs and no commas. Add --format tsv"),
        ("in.csv", b"text\rab\rcd\r", "Save it with line feeds between rows"),
    ],
)
def test_a_file_of_which_every_row_would_be_read_wrongly_is_refused(
    shell: Shell, name: str, content: bytes, told: str
) -> None:
    shell.write(name, content)
    done = shell("run", "shout.yaml", "--input", name)
    assert (done.code, done.out) == (1, "")
    assert told in done.err


def test_a_single_column_with_a_semicolon_in_its_name_can_be_named(shell: Shell) -> None:
    shell.write("in.csv", "what; why\nab;1\n")
    done = shell("run", "shout.yaml", "--input", "in.csv", "--column", "what; why", "--json")
    assert done.records[0]["prediction"] == "AB;1"


def test_bad_rows_become_records_and_lose_nothing(shell: Shell) -> None:
    shell.write("in.txt", b"one\n\ncaf\xe9\n" + b"x" * 9000 + b"\nfive\n")
    done = shell("run", "shout.yaml", "--input", "in.txt", "--json")
    assert done.code == 1
    assert [record.get("error", "")[:40] for record in done.records] == [
        "",
        "line 2: The input is empty. Give some te",
        "line 3 is not UTF-8 (byte 4 of the line)",
        "line 4: The prompt has 9011 tokens even ",
        "",
    ]
    assert [record["prediction"] for record in done.records] == ["ONE", None, None, None, "FIVE"]
    assert "error: 3 of 5 rows could not be answered" in done.err


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("in.jsonl", b'{"text": \n"b"\n', "line 1: is not JSON"),
        ("in.jsonl", b'{"text": 3}\n"b"\n', "line 1: must have text as its input"),
        ("in.jsonl", b'{"a": "x", "b": "y"}\n"b"\n', "line 1: has no key `text`"),
        ("in.jsonl", b'"\\ud800"\n"b"\n', "line 1: holds half a surrogate pair"),
        ("in.jsonl", b"[" * 100_000 + b'\n"b"\n', "line 1: is not JSON"),
        ("in.csv", b"text,n\na\nb,1\n", "line 2: has 1 cells where the header has 2"),
        ("in.csv", b"text\ncaf\xe9\nb\n", "line 2 is not UTF-8"),
        ("in.csv", b'text\n"a"x\nb\n', "line 2: is not CSV"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(shell: Shell, name: str, content: bytes, problem: str) -> None:
    shell.write(name, content)
    done = shell("run", "shout.yaml", "--input", name, "--json")
    assert done.code == 1
    assert done.records[0]["error"].startswith(problem)
    assert done.records[1]["prediction"] == "B"


def test_a_line_without_end_is_one_bad_row(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handful.cli.inputs.MAX_LINE_BYTES", 10)
    shell.write("in.txt", "x" * 35 + "\nok\n")
    done = shell("run", "shout.yaml", "--input", "in.txt", "--json")
    assert done.records[0]["error"] == "line 1 is longer than 10 bytes"
    assert done.records[1]["input"] == "ok"


def test_the_output_is_the_same_in_any_batch_size(shell: Shell) -> None:
    shell.write("in.txt", "".join(f"row {i}\n" for i in range(23)))
    for size in (1, 7, 64):
        shell("run", "mood.yaml", "--input", "in.txt", "--output", f"{size}.jsonl", "--batch-size", str(size))
    assert shell.read("1.jsonl") == shell.read("7.jsonl") == shell.read("64.jsonl")
    assert len(shell.read("7.jsonl").splitlines()) == 23


def test_batches_are_as_large_as_asked(shell: Shell) -> None:
    shell.write("in.txt", "a\n" * 10)
    shell("run", "mood.yaml", "--input", "in.txt", "--batch-size", "4")
    assert [size for name, size in shell.backend.calls if name == "score"] == [4, 4, 2]


def test_csv_output_has_a_header_and_a_column_for_each_label(shell: Shell) -> None:
    shell.write("in.txt", 'say "hi", you\n\n')
    done = shell("run", "mood.yaml", "--input", "in.txt", "--output", "out.csv")
    lines = shell.read("out.csv").decode().split("\r\n")
    assert done.code == 1
    assert lines[0] == "input,prediction,probability of good,probability of bad,error"
    assert lines[1].startswith('"say ""hi"", you",')
    assert lines[2] == ",,,,line 2: The input is empty. Give some text."


def test_the_model_of_the_command_comes_before_that_of_the_task(shell: Shell) -> None:
    shell.write("own.yaml", OPEN_TASK + "model: its-own\n")
    shell("run", "own.yaml", "a")
    shell("run", "own.yaml", "a", "--model", "other", "--precision", "float32", "--device", "cpu")
    shell("run", "shout.yaml", "a")
    assert [(o["name"], o["precision"], o["device"]) for o in shell.opened] == [
        ("its-own", None, None),
        ("other", "float32", "cpu"),
        ("default", None, None),
    ]


def test_the_model_is_closed_even_when_it_fails(shell: Shell) -> None:
    def fail(prompt: str) -> str:
        raise EngineError("broken")

    shell.backend.answer = fail
    done = shell("run", "shout.yaml", "a")
    assert (done.code, done.err, shell.backend.closed) == (2, "error: broken\n", True)


def test_the_prefix_is_pinned(shell: Shell) -> None:
    shell.write("described.yaml", OPEN_TASK + "description: Shout.\n")
    shell("run", "described.yaml", "a")
    assert shell.backend.pinned == {"Shout.\n\n"}


def test_dropped_examples_are_told_once(shell: Shell) -> None:
    examples = "".join(f"  - text: {'x' * 80}\n    output: y\n" for _ in range(4))
    shell.write("long.yaml", OPEN_TASK + "examples:\n" + examples)
    shell.backend = FakeBackend(context_length=300)
    done = shell("run", "long.yaml", "a", "b")
    assert "warning: 2 predictions were made without up to 2 of the examples" in done.err


def test_no_escape_byte_reaches_a_stream_that_is_no_terminal(shell: Shell) -> None:
    shell.backend.answer = lambda prompt: " \x1b[31mred\x9b\n###"
    done = shell("run", "shout.yaml", "plain \x1b]0;title\x07")
    assert "\x1b" not in done.out + done.err
    assert "\x9b" not in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.yaml", "a"], "There is no task file nope.yaml."),
        (["shout.yaml", "--input", "nope.txt"], "The input nope.txt can't be read"),
        (["shout.yaml", "--input", "."], "The input . can't be read"),
        (["shout.yaml", "--column", "x"], "`--column` has no meaning for plain text"),
        (["shout.yaml", "a", "--output", "no/such/o.jsonl"], "can't be written"),
        (["shout.yaml", "a", "--output", "/dev/null"], "no ordinary file"),
        (["pair.yaml", "--format", "txt"], "A line of text can't hold the 2 values"),
        (["pair.yaml", "--column", "left"], "`--column` names one column"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_one(shell: Shell, arguments: list[str], message: str) -> None:
    done = shell("run", *arguments)
    assert done.code == 1
    assert message in done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert shell.opened == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--input", "in.txt"], "`--input` and texts as arguments exclude each other."),
        (["a", "--column", "x"], "`--column` is for files"),
        (["a", "--overwrite"], "`--overwrite` needs --output"),
        (["a", "--json", "--output", "o.csv"], "`--json` and an --output that ends in .csv"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(shell: Shell, arguments: list[str], message: str) -> None:
    done = shell("run", "shout.yaml", *arguments)
    assert (done.code, done.err.count("\n"), shell.opened) == (2, 1, [])
    assert message in done.err


def test_the_input_cannot_be_the_output(shell: Shell) -> None:
    shell.write("in.jsonl", '"a"\n')
    done = shell("run", "shout.yaml", "--input", "in.jsonl", "--output", "in.jsonl", "--overwrite")
    assert "`--output` is the input itself." in done.err
    assert shell.read("in.jsonl") == b'"a"\n'


# Continuing


def finish(shell: Shell, name: str, *more: str) -> Outcome:
    return shell("run", "shout.yaml", "--input", "in.txt", "--output", name, "--batch-size", "4", *more)


def fail_on(text: str) -> Callable[[str], str]:
    def answer(prompt: str) -> str:
        if text in prompt:
            raise EngineError("broken")
        return " fine\n###"

    return answer


@pytest.fixture
def half_done(shell: Shell) -> Shell:
    """A run over 20 rows that broke down after 8, and `whole.*` from runs that did not."""
    shell.write("in.txt", "".join(f'row "{i}", so\n' if i % 5 else "\n" for i in range(1, 21)))
    shell.backend.answer = lambda prompt: " fine\n###"
    for suffix in ("jsonl", "csv"):
        assert finish(shell, f"whole.{suffix}").code == 1
    shell.backend.answer = fail_on('"11"')
    for suffix in ("jsonl", "csv"):
        assert finish(shell, f"half.{suffix}").code == 2
    shell.backend = FakeBackend(answer=lambda prompt: " fine\n###")
    return shell


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_rerun_continues_to_the_same_file(half_done: Shell, suffix: str) -> None:
    end = b"\r\n" if suffix == "csv" else b"\n"
    assert half_done.read(f"half.{suffix}").count(end) == 8 + (suffix == "csv")
    done = finish(half_done, f"half.{suffix}")
    assert half_done.read(f"half.{suffix}") == half_done.read(f"whole.{suffix}")
    assert sum(size for _, size in half_done.backend.calls) == 12 - 3
    assert done.code == 1
    assert f"half.{suffix}: 8 records are there already." in done.err


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_wherever_the_file_was_torn_a_rerun_repairs_it(half_done: Shell, suffix: str) -> None:
    whole = half_done.read(f"whole.{suffix}")
    for size in range(0, len(whole), 37):
        half_done.write(f"half.{suffix}", whole[:size])
        finish(half_done, f"half.{suffix}")
        assert half_done.read(f"half.{suffix}") == whole


def test_a_complete_file_is_left_alone_without_loading_a_model(shell: Shell) -> None:
    shell.write("in.txt", "a\nb\n")
    finish(shell, "out.jsonl")
    before = shell.read("out.jsonl")
    done = finish(shell, "out.jsonl")
    assert (done.code, len(shell.opened), shell.read("out.jsonl")) == (0, 1, before)


def test_a_complete_file_with_errors_keeps_its_exit_code(half_done: Shell) -> None:
    assert finish(half_done, "whole.jsonl").code == 1


def test_another_version_of_the_task_is_refused_by_name(half_done: Shell) -> None:
    half_done.write("shout.yaml", OPEN_TASK + "description: Differently.\n")
    before = half_done.read("half.jsonl")
    done = finish(half_done, "half.jsonl")
    assert done.err.startswith("error: half.jsonl was written with another version of the task.")
    assert "--overwrite" in done.err
    assert half_done.read("half.jsonl") == before


def test_another_task_is_refused_by_name(half_done: Shell) -> None:
    done = half_done("run", "mood.yaml", "--input", "in.txt", "--output", "half.jsonl")
    assert "another task (shout, not mood)" in done.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "other"], "another model (default, not other)"),
        (["--precision", "float32"], "another precision (auto, not float32)"),
    ],
)
def test_another_model_or_precision_is_refused_by_name(half_done: Shell, more: list[str], message: str) -> None:
    assert message in finish(half_done, "half.jsonl", *more).err


def test_another_input_is_refused_by_name(half_done: Shell) -> None:
    half_done.write("in.txt", "something else\n")
    assert "was written with another input." in finish(half_done, "half.jsonl").err


def test_overwrite_starts_afresh(half_done: Shell) -> None:
    half_done.write("in.txt", "something else\n")
    assert finish(half_done, "half.jsonl", "--overwrite").code == 0
    assert len(half_done.read("half.jsonl").splitlines()) == 1


def test_a_file_of_someone_elses_is_never_touched(shell: Shell) -> None:
    shell.write("in.txt", "a\n")
    shell.write("mine.jsonl", "precious\n")
    done = finish(shell, "mine.jsonl")
    assert done.code == 1
    assert "isn't the output of a run that can be continued" in done.err
    assert shell.read("mine.jsonl") == b"precious\n"


def test_a_pipe_with_other_rows_is_refused_by_its_row(shell: Shell) -> None:
    arguments = ["run", "shout.yaml", "--output", "out.jsonl"]
    assert shell(*arguments, stdin=b"a\nb\n").code == 0
    assert shell(*arguments, stdin=b"a\nb\nc\n").code == 0
    done = shell(*arguments, stdin=b"a\nx\nc\n")
    assert "record 2 answers another row (the input has something else on line 2)" in done.err
    assert [json.loads(line)["input"] for line in shell.read("out.jsonl").splitlines()] == ["a", "b", "c"]


def test_a_damaged_record_in_the_middle_is_refused(half_done: Shell) -> None:
    content = half_done.read("half.jsonl").replace(b'"prediction"', b"prediction", 1)
    half_done.write("half.jsonl", content)
    assert "Record 1 of the output can't be read back" in finish(half_done, "half.jsonl").err
    assert half_done.read("half.jsonl") == content


def test_two_runs_cannot_write_one_file(half_done: Shell) -> None:
    import fcntl

    with (half_done.folder / "half.jsonl").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "Another run is writing half.jsonl." in finish(half_done, "half.jsonl").err


def test_beside_the_output_stands_what_it_depends_on(shell: Shell) -> None:
    shell.write("in.txt", "a\n")
    finish(shell, "out.jsonl")
    kept = json.loads(sidecar_path(Path("out.jsonl")).read_text())
    assert set(kept) == {"schema", "task", "task_fingerprint", "model", "precision", "input"}


def test_rows_of_several_variables_that_could_not_be_read_are_found_again(shell: Shell) -> None:
    shell.write("in.jsonl", 'broken\n{"left": "l", "right": "r"}\n')
    for name in ("out.csv", "out.jsonl"):
        arguments = ["run", "pair.yaml", "--input", "in.jsonl", "--output", name]
        first, second = shell(*arguments), shell(*arguments)
        assert (first.code, second.code) == (1, 1)
        assert "2 records are there already" in second.err


LEANING_TASK = """\
name: lean
input: "Say: {text}"
labels: [good, bad]
examples:
  - {text: a joy, output: good}
  - {text: a bore, output: bad}
"""


def test_a_task_with_examples_is_calibrated_unless_it_is_not_wanted(shell: Shell) -> None:
    shell.backend.logprob = lambda _, continuation: -1.0 - 3.0 * (continuation.strip() == "bad")
    shell.write("lean.yaml", LEANING_TASK)
    [calibrated] = shell("run", "lean.yaml", "one", "--json").records
    [plain] = shell("run", "lean.yaml", "one", "--json", "--calibration", "none").records
    assert calibrated["probabilities"] == pytest.approx({"good": 0.5, "bad": 0.5})
    assert plain["probabilities"]["good"] > 0.9


def test_calibrating_free_text_is_refused_by_name(shell: Shell) -> None:
    done = shell("run", "shout.yaml", "one", "--calibration", "none")
    assert done.code != 0
    assert "`calibration`: has no effect" in done.err


def test_examples_that_contradict_each_other_are_told(shell: Shell) -> None:
    shell.write("lean.yaml", LEANING_TASK + "  - {text: A joy, output: bad}\n")
    done = shell("run", "lean.yaml", "one")
    assert "warning: Examples 1 and 3 have the same input and different outputs, `good` and `bad`." in done.err
    assert shell("run", "lean.yaml", "one", "--quiet").err == ""


def test_an_answer_that_is_not_sure_enough_is_marked_in_every_form(shell: Shell) -> None:
    shell.backend.logprob = lambda prompt, continuation: (
        -1.0 - (5.0 if "sure" in prompt else 0.5) * (continuation.strip() == "bad")
    )
    task = 'name: lean\ninput: "Say: {text}"\nlabels: [good, bad]\nabstain_below: 0.9\n'
    shell.write("lean.yaml", task)
    asked = ("run", "lean.yaml", "sure", "hmm")
    assert [record["abstained"] for record in shell(*asked, "--json").records] == [False, True]
    assert shell(*asked).out == "sure\n  good 99.3%   (bad 0.7%)\nhmm\n  abstains: good 62.2%   (bad 37.8%)\n"
    for _ in range(2):  # the second time all records are there already
        assert shell(*asked, "--output", "out.csv").code == 0
    lines = shell.read("out.csv").decode().split("\r\n")
    assert lines[0] == "input,prediction,abstained,probability of good,probability of bad,error"
    assert [line.split(",")[2] for line in lines[1:3]] == ["false", "true"]


@pytest.fixture
def classifier(shell: Shell) -> str:
    """A folder with channel scoring, whose answers the fake gives without weights."""
    examples = [Example({"text": f"text {i}"}, "good" if i % 2 else "bad") for i in range(4)]
    task = Task(name="mood", input="Say: {text}", labels=("good", "bad"), examples=tuple(examples))
    ready = make_ready("contextual", task, shell.backend)
    expected = Verdict(recipe="contextual", num_right=3, num_tried=4, log_loss=None)
    save_ready(shell.folder / "mood", ready, shell.backend, expected)
    return str(shell.folder / "mood")


def test_a_saved_classifier_answers_like_a_task(shell: Shell, classifier: str) -> None:
    found = shell("run", classifier, "one", "two", "--json")
    assert found.code == 0, found.err
    assert [record["input"] for record in found.records] == ["one", "two"]
    for record in found.records:
        assert record["prediction"] == max(record["probabilities"], key=record["probabilities"].get)
    assert shell.opened[-1]["name"] == "fake"


def test_a_saved_classifier_names_bad_rows_in_their_place_and_goes_on(shell: Shell, classifier: str) -> None:
    rows = shell.write("rows.jsonl", '{"text": "one"}\n{"text": 5}\n{"text": ""}\n{"text": "two"}\n')
    found = shell("run", classifier, "--input", rows, "--json")
    assert found.code == 1
    assert ["error" in record for record in found.records] == [False, True, True, False]


def test_a_saved_classifiers_records_continue_and_belong_to_it(shell: Shell, classifier: str) -> None:
    rows = shell.write("rows.txt", "one\ntwo\n")
    out = str(shell.folder / "out.jsonl")
    assert shell("run", classifier, "--input", rows, "--output", out).code == 0
    before = shell.read("out.jsonl")
    assert shell("run", classifier, "--input", rows, "--output", out).code == 0
    assert shell.read("out.jsonl") == before
    (shell.folder / "mood" / "classifier.json").write_text(
        (shell.folder / "mood" / "classifier.json").read_text(encoding="utf-8").replace('"mood"', '"other"'),
        encoding="utf-8",
    )
    assert shell("run", classifier, "--input", rows, "--output", out).code == 1


def test_what_a_saved_classifier_cannot_honour_is_refused_by_name(shell: Shell, classifier: str) -> None:
    found = shell("run", classifier, "one", "--calibration", "none")
    assert (found.code, "`--calibration` is for task files" in found.err) == (1, True), found.err
    (shell.folder / "empty").mkdir()
    found = shell("run", str(shell.folder / "empty"), "one")
    assert (found.code, "There is no saved classifier" in found.err) == (1, True), found.err


def test_a_folder_whose_distillation_was_not_finished_is_told_with_the_way_to_finish_it(shell: Shell) -> None:
    (shell.folder / "half").mkdir()
    shell.write("half/labels.jsonl", "")
    found = shell("run", "half", "one")
    assert found.code == 1
    assert "in half: its distillation wasn't finished. Run the same `handful distill` with --output half" in found.err
