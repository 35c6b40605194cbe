"""A task file that can't be honoured: one line with file, line and key, exit code 1, and no model is loaded."""

import sys
from pathlib import Path

import pytest

from handful.cli import run as run_command
from handful.cli.main import main

OPEN = "name: t\ninput: 'Say: {text}'\n"


def refused(
    content: str | bytes, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    (folder / "t.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.chdir(folder)
    monkeypatch.setattr(run_command, "open_backend", lambda name, **options: pytest.fail("a model was loaded"))
    monkeypatch.setattr(sys, "argv", ["handful", "run", "t.yaml", "a"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    assert said.err.startswith("error: t.yaml")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    return said.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("max_new_tokens", value) for value in ("-1", "1000001", "1.5", "many", "true", ".nan")],
        *[("min_new_tokens", value) for value in ("-1", "101")],
        *[("temperature", value) for value in ("-0.1", "101", ".inf", ".nan", "hot")],
        *[("top_k", value) for value in ("0", "-5", "99999999999", "1.5")],
        *[("top_p", value) for value in ("0", "1.5", "-1")],
        *[("typical_p", value) for value in ("0", "1.5")],
        *[("repetition_penalty", value) for value in ("0", "-1", "101")],
        *[("presence_penalty", value) for value in ("-2.5", "3")],
        *[("frequency_penalty", value) for value in ("-2.5", "3")],
        *[("seed", value) for value in ("-1", "99999999999999999999", "1.5")],
        *[("max_time", value) for value in ("0", "-1", "100000")],
        *[("stop", value) for value in ("['']", "[1, 2]", "[" + "a," * 17 + "]", "x" * 257)],
        *[("n", "2"), ("logprobs", "1"), ("echo", "true"), ("logit_bias", "{1: 2}"), ("best_of", "2")],
    ],
)
def test_a_parameter_out_of_range_is_named_with_its_line(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(f"{OPEN}parameters:\n  {name}: {value}\n", tmp_path, monkeypatch, capsys)
    assert name in said
    assert "t.yaml, line 4: " in said


@pytest.mark.parametrize(
    "content",
    [
        "",
        "- a\n- b\n",
        "name: [unclosed\n",
        OPEN + "labells: [a, b]\n",
        OPEN + "labels: [a]\n",
        OPEN + "examples:\n  - {txt: a, output: b}\n",
        OPEN + "model: !!python/object/apply:os.system ['touch ran']\n",
        OPEN + "description: *anchor\n",
        b"name: caf\xe9\n",
        b"\0\1\2",
        "input: '{x.__class__.__mro__}'\n",
        "input: '{x!r:>10}'\n",
        "a: " * 500,
        "[" * 5000,
    ],
)
def test_a_malformed_file_is_one_line(
    content: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(content, tmp_path, monkeypatch, capsys)
    assert not (tmp_path / "ran").exists()
