"""`handful models`, as another process sees it: stdout, stderr and exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handful.cli.models import readable_size
from tests.unit.model.fake_hub import running_hub
from tests.unit.model.tiny_models import checkpoint
from tests.unit.pipelines import tiny_nlp


def handful(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HANDFUL_HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    program = "from handful.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "models", *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_empty_list_is_an_empty_json_list(tmp_path: Path) -> None:
    done = handful(tmp_path, "list", "--cached", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_the_list_is_text_without_escape_codes(tmp_path: Path) -> None:
    done = handful(tmp_path, "list")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    first, default, *others = done.stdout.splitlines()
    assert first.split() == ["MODEL", "CACHED", "DOWNLOAD", "FLOAT32", "BFLOAT16", "CONTEXT"]
    assert default.split()[:2] == ["default", "no"]
    assert any(line.startswith("EleutherAI/gpt-neo-2.7B") for line in others)
    assert "handful models pull" in done.stderr


def test_info_describes_a_folder(tmp_path: Path) -> None:
    done = handful(tmp_path, "info", str(checkpoint("gpt2")), "--json")
    described = json.loads(done.stdout)
    assert (described["architecture"], described["engine"], described["num_layers"]) == ("gpt2", "native", 3)
    assert described["context_length"] == 640
    assert "model.safetensors" in described["file_bytes"]


def test_info_is_readable(tmp_path: Path) -> None:
    done = handful(tmp_path, "info", str(checkpoint("gpt2")))
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (lines["architecture"], lines["engine"], lines["context"]) == ("gpt2", "native", "640 tokens")
    assert "\x1b" not in done.stdout


def test_info_says_how_much_an_encoder_of_sentences_reads_and_not_what_its_network_could(tmp_path: Path) -> None:
    done = handful(tmp_path, "info", str(tiny_nlp.checkpoint("sentence-bert")), "--json")
    assert json.loads(done.stdout)["context_length"] == 40


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("info", "someone/none"), "handful models pull someone/none"),
        (("info", "default"), "handful models pull default"),
        (("pull", "./none"), "Check the path"),
        (("pull", "default", "--revision", "v1"), "`revision`"),
        (("pull", "someone/none", "--from", "x.whl"), "`--from`"),
        (("pull", "default", "--from", "none.whl"), "none.whl"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_way_out(
    arguments: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    done = handful(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert problem in done.stderr


def test_pull_fetches_from_the_hub_and_prints_the_folder(tmp_path: Path) -> None:
    with running_hub() as hub:
        commit = hub.add("someone/tiny", checkpoint("gpt2"))
        done = handful(tmp_path, "pull", "someone/tiny", HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name == commit
    assert "\x1b" not in done.stderr
    listed = json.loads(handful(tmp_path, "list", "--cached", "--json").stdout)
    assert [(entry["name"], entry["cached"]) for entry in listed] == [("someone/tiny", True)]
    assert json.loads(handful(tmp_path, "info", "someone/tiny", "--json").stdout)["revision"] == commit


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (92_871_040, "92.9 MB"), (24_200_000_000, "24.2 GB")],
)
def test_sizes_are_readable(num_bytes: int, text: str) -> None:
    assert readable_size(num_bytes) == text
