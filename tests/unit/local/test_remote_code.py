"""Code that comes with a checkpoint is never run, wherever a checkpoint names it and however Python was started."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.model.tiny_models import checkpoint

TASK = "name: t\ninput: 'Say: {text}'\nlabels: [a, b]\n"
AUTO_MAP = {
    "AutoConfig": "own.Own",
    "AutoModelForCausalLM": "own.Own",
    "AutoTokenizer": ["own.Own", "own.Own"],
    "AutoModel": "someone/else--own.Own",
}
PROGRAM = ["-c", "from handful.cli.main import main; main()"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose folder holds code that leaves a mark, and that names the code wherever it could."""
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("gpt2"), folder)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own: pass\n"
    for name in ("own.py", "__init__.py", "modeling_gpt2.py", "tokenization_own.py", "conftest.py", "setup.py"):
        (folder / name).write_text(code)
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        path = folder / name
        found = json.loads(path.read_text()) if path.exists() else {}
        nested = {"auto_map": AUTO_MAP, "text_config": {"auto_map": AUTO_MAP, "model_type": "own"}}
        path.write_text(json.dumps(found | nested | {"trust_remote_code": True, "custom_generate": "own.py"}))
    (tmp_path / "t.yaml").write_text(TASK)
    return folder


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HANDFUL_KV_MEMORY_MB": "16", "HANDFUL_THREADS": "1", "TRUST_REMOTE_CODE": "1"}
    command = [sys.executable, "-P", "-O", *PROGRAM, "run", "../t.yaml", "hello", "--json", "--model", str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_native_model_runs_without_its_code(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prediction"] in ("a", "b")
    assert not (folder.parent / "ran").exists()


def test_a_model_that_needs_its_code_is_refused_in_one_line(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "architectures": ["Own"]}))
    done = run(folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (folder.parent / "ran").exists()
