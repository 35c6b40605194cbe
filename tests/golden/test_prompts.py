"""The prompts of the example tasks, character by character. A mark shows where each ends.

To accept a change: HANDFUL_WRITE_GOLDEN=1 pytest tests/golden/test_prompts.py, and read the difference.
"""

import os
from pathlib import Path

import pytest

from handful.task.render import prefix, prompt
from handful.task.task import Task

EXAMPLES = Path(__file__).parents[2] / "examples"
GOLDEN = Path(__file__).parent / "prompts"
QUERIES = {
    "sentiment": {"review": "What a joy."},
    "topic": {"headline": "Bees count to four"},
    "translation": {"english": "Where is the station?"},
    "extraction": {"order": "Six red lamps for Thursday"},
    "text-to-sql": {"schema": "films(id, title, year)", "question": "Which film is the oldest?"},
    "intent": {"message": "I lost my card"},
}


@pytest.mark.parametrize("num_examples", [0, 1, None], ids=["zero", "one", "all"])
@pytest.mark.parametrize("name", QUERIES)
def test_the_prompt_is_the_golden_one(name: str, num_examples: int | None) -> None:
    whole = Task.load(EXAMPLES / f"{name}.yaml")
    task = whole.with_examples(whole.examples[:num_examples])
    rendered = prompt(task, QUERIES[name])
    assert rendered.startswith(prefix(task))
    shown = f"{prefix(task)}<PREFIX ENDS>{rendered.removeprefix(prefix(task))}<PROMPT ENDS>\n"
    file = GOLDEN / f"{name}.{'all' if num_examples is None else num_examples}.txt"
    if os.environ.get("HANDFUL_WRITE_GOLDEN"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")
