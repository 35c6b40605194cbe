"""The documents: links lead somewhere, rules name tests that exist, figures come with what they were measured on."""

import ast
import re
import runpy
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from handful.config import Settings
from handful.server.task_body import id_of
from handful.task.task import Task

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.md"))]
LINK = re.compile(r"\[[^]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
RULES = ROOT / "docs" / "rules.md"
TEST = re.compile(r"`(tests/[\w/.]+\.py)::(\w+)`")


def links() -> list[tuple[str, str]]:
    """(page, target) of each link to a file of the repository."""
    found = [(page, target) for page in PAGES for target in LINK.findall(page.read_text(encoding="utf-8"))]
    return [(str(page.relative_to(ROOT)), target) for page, target in found if "://" not in target]


@pytest.mark.parametrize(("page", "target"), links())
def test_a_link_leads_somewhere(page: str, target: str) -> None:
    assert ((ROOT / page).parent / target).exists()


def functions(path: Path) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), sorted(set(TEST.findall(RULES.read_text(encoding="utf-8")))))
def test_a_test_that_the_rules_name_is_there(file: str, name: str) -> None:
    assert name in functions(ROOT / file)


def rows() -> dict[str, str]:
    """What the rules' tables say behind each rule's mark (F7, R12)."""
    return dict(re.findall(r"^\| ([FR]\d+) \|(.*)$", RULES.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_rule_has_its_row() -> None:
    friendly, reliable = [f"F{i}" for i in range(1, 31)], [f"R{i}" for i in range(1, 41)]
    assert list(rows()) == friendly + reliable


@pytest.mark.parametrize(("mark", "row"), rows().items())
def test_a_rule_names_its_tests_or_the_work_it_waits_for(mark: str, row: str) -> None:
    assert TEST.search(row) or "not built" in row, mark


def test_a_benchmark_says_what_it_ran_on() -> None:
    source = (ROOT / "benchmarks" / "environment.py").read_text(encoding="utf-8")
    for key in ("processor", "threads", "torch", "python", "precision", "model"):
        assert f'"{key}"' in source
    assert len(runpy.run_path(str(ROOT / "benchmarks" / "environment.py"))["processor"]()) > 2


def test_the_figures_page_says_how_they_were_measured_and_where_handful_loses() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").lower()
    for word in ("processor", "torch", "transformers", "warm", "cold", "python benchmarks/", "loses"):
        assert word in page, word


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_settings_page_has_every_setting_as_it_is(name: str) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    described, default = Settings.model_fields[name].description, Settings.model_fields[name].default
    row = re.search(rf"^\| `HANDFUL_{name.upper()}` \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert row is not None
    assert row[1] == described
    if default is not PydanticUndefined:  # one that is found out is told in words
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert row[2].strip("`") == ("" if default is None else shown)


def test_what_the_tasks_page_asks_of_a_task_was_made_by_a_line_before() -> None:
    page = (ROOT / "docs" / "tasks-api.md").read_text(encoding="utf-8")
    made: dict[str, set[str]] = {}
    for line in page.split("```console\n")[1].split("```")[0].splitlines():
        if (posted := re.search(r"/tasks --data-binary @(\S+)", line)) is not None:
            task = Task.load(ROOT / posted[1])
            made[task.name] = {id_of(example) for example in task.examples}
        else:
            name = line.split("/tasks/")[1].split("/")[0].split()[0]
            assert set(re.findall(r"\bid=(\w+)", line)) <= made[name], line


def test_the_snippet_for_a_server_that_has_just_started_waits_for_the_model() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\nimport requests\n(.*?)```", page, re.DOTALL)
    assert '"wait_for_model": True' in snippet.split("requests.post")[0]
