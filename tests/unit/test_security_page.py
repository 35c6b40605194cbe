"""docs/security.md speaks of every rule of reliability and security, and of none that isn't there."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_every_rule_of_security_is_promised_or_said_not_to_be() -> None:
    rules = set(re.findall(r"^\| (R\d+) \|", (DOCS / "rules.md").read_text(encoding="utf-8"), re.MULTILINE))
    told = set(re.findall(r"\bR\d+\b", (DOCS / "security.md").read_text(encoding="utf-8")))
    assert told == rules


def test_a_file_of_tests_that_it_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (DOCS / "security.md").read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (DOCS.parent / name).exists()] == []
