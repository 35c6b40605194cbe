"""Task files: what is read, what is refused with file and line, what is written."""

from pathlib import Path

import pytest

from handful.errors import NotFoundError, TaskError
from handful.task.task import Example, Task

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mood.yaml"


def refusal(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TaskError) as caught:
        Task.load(file)
    message = str(caught.value)
    assert message.startswith(str(file))
    return message.removeprefix(str(file))


def test_there_are_example_tasks() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "sentiment",
        "topic",
        "translation",
        "extraction",
        "text-to-sql",
        "intent",
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_task_is_sound_and_survives_being_saved(path: Path, file: Path) -> None:
    task = Task.load(path)
    task.save(file)
    assert Task.load(file) == task
    assert task.name == path.stem
    assert 4 <= len(task.examples) <= 8
    assert {example.output for example in task.examples} >= set(task.labels)


def test_a_file_without_a_name_is_named_after_itself(file: Path) -> None:
    file.write_text("input: '{x}'\n")
    assert Task.load(file).name == "mood"


@pytest.mark.parametrize("word", ["yes", "no", "on", "1", "1.5", "null", "~", "2024-01-01", "0x1f", "true"])
def test_a_plain_word_is_text_whatever_yaml_makes_of_it(file: Path, word: str) -> None:
    file.write_text(f"name: x\nlabels: [{word}, other]\n")
    assert Task.load(file).labels == (word, "other")


def test_parameters_are_numbers(file: Path) -> None:
    file.write_text("name: x\nparameters: {temperature: 0.5, max_new_tokens: 7}\n")
    task = Task.load(file)
    assert (task.parameters.temperature, task.parameters.max_new_tokens) == (0.5, 7)


def test_a_byte_order_mark_and_windows_line_ends_are_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfname: x\r\ndescription: y\r\n")
    assert Task.load(file).description == "y"


def test_json_is_read(file: Path) -> None:
    file.write_text('{"name": "x", "labels": ["a", "b"]}')
    assert Task.load(file).labels == ("a", "b")


def test_an_error_names_the_line_of_the_key(file: Path) -> None:
    text = "name: x\nlabels: [a, b]\nexamples:\n  - input: q\n    output: a\n  - input: q\n    output: c\n"
    assert refusal(file, text).startswith(", line 7: example 2, `output`: 'c' is none of the labels.")


def test_an_unknown_key_is_named_with_its_line(file: Path) -> None:
    assert refusal(file, "name: x\n\nseperator: y\n").startswith(", line 3: `seperator`: is no key of a task. Did you")


def test_a_key_that_comes_twice_is_refused_with_both_lines(file: Path) -> None:
    message = refusal(file, "name: x\nexamples:\n  - input: a\n    output: b\n    input: c\n")
    assert message.startswith(", line 5: the key `input` is there already, on line 3.")


def test_text_that_yaml_takes_for_a_mapping_is_refused_with_quotes(file: Path) -> None:
    message = refusal(file, "name: x\ninput: Review: {text}\n")
    assert message.startswith(", line 2: not YAML")
    assert "in quotes" in message


def test_an_unquoted_template_is_refused(file: Path) -> None:
    assert "`input`: must be text, not a mapping" in refusal(file, "name: x\ninput: {text}\n")


def test_a_key_without_a_value_is_refused(file: Path) -> None:
    assert ", line 2: `description`: must be text, not empty" in refusal(file, "name: x\ndescription:\n")


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['true']\n",
        "name: !!python/name:os.system x\n",
        "!!python/object:x {}\n",
        "name: !custom x\n",
        "labels: !!set {a, b}\n",
        "name: !!binary aGk=\n",
    ],
)
def test_tags_are_refused(file: Path, text: str) -> None:
    assert "is not read" in refusal(file, text)


def test_aliases_are_refused(file: Path) -> None:
    assert "aliases (*name) are not read" in refusal(file, "name: x\nlabels: &l [a, b]\nexamples: *l\n")


def test_deep_nesting_is_refused(file: Path) -> None:
    assert "nested deeper" in refusal(file, "name: " + "[" * 5000)


def test_a_number_that_python_will_not_read_is_refused(file: Path) -> None:
    assert "can't be read" in refusal(file, "name: x\nparameters: {seed: " + "9" * 5000 + "}\n")


def test_bytes_that_are_not_utf8_are_refused_with_their_line(file: Path) -> None:
    assert refusal(file, b"name: x\ndescription: caf\xe9\n").startswith(", line 2: not UTF-8 text.")


def test_a_file_that_is_too_large_is_refused(file: Path) -> None:
    assert "larger than" in refusal(file, "#" * (1024 * 1024 + 1))


def test_an_empty_file_is_refused(file: Path) -> None:
    assert "A task is a mapping" in refusal(file, "")


def test_a_control_character_is_refused(file: Path) -> None:
    assert "not YAML" in refusal(file, "name: x\0\n")


def test_a_file_that_is_not_there_is_told_with_the_nearest_name(file: Path) -> None:
    file.write_text("name: x\n")
    with pytest.raises(NotFoundError, match=r"Did you mean .*mood\.yaml\?"):
        Task.load(file.with_name("moood.yaml"))


def test_a_folder_is_no_task_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="can't be read"):
        Task.load(tmp_path)


def test_a_saved_task_is_what_a_person_would_write(file: Path) -> None:
    task = Task(
        name="mood",
        description="What is the mood?\nAnswer in one word.",
        input="Text: {text}",
        labels=("good", "1"),
        examples=(Example({"text": "Sunny: very."}, "good"), Example({"text": "a\nb"}, "1")),
    )
    task.save(file)
    assert file.read_text() == (
        "name: mood\n"
        "description: |-\n"
        "  What is the mood?\n"
        "  Answer in one word.\n"
        "input: 'Text: {text}'\n"
        "output: 'Output: {output}'\n"
        "labels: [good, '1']\n"
        "examples:\n"
        "  - text: 'Sunny: very.'\n"
        "    output: good\n"
        "  - text: |-\n"
        "      a\n"
        "      b\n"
        "    output: '1'\n"
    )


def test_saving_leaves_nothing_else_behind(file: Path) -> None:
    Task(name="x").save(file)
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
