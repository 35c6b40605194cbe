"""Nothing that comes from outside is ever executed: seen in the source itself, so that no later change slips in.

What is refused below could run code that a checkpoint, a task file, a template or a request brings along.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "src" / "handful").rglob("*.py"))

# Modules that run what they read, or run programs, and the files that may import them all the same.
MODULES = {
    "pickle": {"model/checkpoint.py"},  # for the name of the error that torch's restricted loader raises
    "cPickle": set(),
    "cloudpickle": set(),
    "dill": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
    "jinja2": {"protocol/chat_template.py"},  # in its immutable sandbox, see below
    # pip, to get a model's wheel; handful's own processes that render chat templates and examine models' files
    "subprocess": {"model/package.py", "confined.py", "server/openai_chat_renderer.py", "model/apart.py"},
    "runpy": set(),
    "code": set(),
    "pty": set(),
}
JINJA = {"Environment", "Template", "SandboxedEnvironment", "NativeEnvironment", "FileSystemLoader"}
NAMES = {"eval", "exec", "compile", "__import__", "breakpoint"}
ATTRIBUTES = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader", "yaml.UnsafeLoader"),
    *("yaml.FullLoader", "torch.jit.load", "torch.package", "torch.hub.load"),
    *("importlib.util.spec_from_file_location", "jinja2.Environment", "jinja2.Template"),
}


def unsafe(tree: ast.AST, path: str) -> Iterator[str]:
    """What in a module's syntax could run something from outside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, path)
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ATTRIBUTES:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _imported(node: ast.Import | ast.ImportFrom, path: str) -> Iterator[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    for name in names:
        module = name.partition(".")[0]
        if path not in MODULES.get(module, {path}):
            yield f"import {module}"
        if module == "jinja2" and isinstance(node, ast.ImportFrom):
            yield from (f"jinja2's {alias.name}" for alias in node.names if alias.name in JINJA)


def _called(node: ast.Call) -> Iterator[str]:
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if ast.unparse(node.func) == "torch.load" and keywords.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if keywords.get("trust_remote_code", "False") != "False":
        yield "trust_remote_code"
    if keywords.get("shell", "False") != "False":
        yield "shell"
    if (
        ".from_pretrained" in ast.unparse(node.func)
        and "trust_remote_code" not in keywords
        and "**" not in ast.unparse(node)
    ):
        yield "from_pretrained without trust_remote_code=False"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_no_module_can_run_what_it_reads(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert list(unsafe(tree, str(path.relative_to(SOURCES[0].parent)))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "from pickle import loads",
        "import pickle.x",
        "pickle.loads(b'')",
        "yaml.load(f, Loader=yaml.SafeLoader)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, weights_only=flag)",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=settings.trust)",
        "import jinja2",
        "from jinja2 import Environment",
        "os.system('ls')",
        "run(x, shell=True)",
        "def f():\n    import subprocess",
    ],
)
def test_the_search_finds_what_it_is_for(code: str) -> None:
    assert list(unsafe(ast.parse(code), "some/file.py"))


def test_no_setting_or_option_allows_a_checkpoints_code() -> None:
    found = [path for path in SOURCES if "trust_remote_code" in path.read_text(encoding="utf-8")]
    assert {str(path.relative_to(SOURCES[0].parent)) for path in found} == {
        "local/transformers_backend.py",
        "model/tokenizer_files.py",
        "pipelines/pretrained.py",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(SOURCES[0].parent)))
def test_nothing_is_checked_by_an_assertion(path: Path) -> None:
    """`python -O` takes assertions away, and what users give must be told, not asserted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []


def test_templates_are_rendered_in_the_immutable_sandbox_only() -> None:
    tree = ast.parse("from jinja2 import Environment, Template\nfrom jinja2.sandbox import SandboxedEnvironment")
    assert len(list(unsafe(tree, "protocol/chat_template.py"))) == 3
