"""Settings from the environment."""

import pytest

from handful.config import settings
from handful.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("HANDFUL_INSTRUCTIONS", "sse2", "is 'sse2': should be 'all', 'avx512', 'avx-vnni', 'avx2' or 'none'."),
        ("HANDFUL_THREADS", "-1", "is '-1': should be greater than or equal to 0."),
        ("HANDFUL_DRAFTS", "perhaps", "is 'perhaps': should be a valid boolean"),
    ],
)
def test_a_variable_that_holds_what_cannot_be_is_named(
    variable: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidParameterError) as refused:
        settings.__wrapped__()
    assert refused.value.parameter == variable
    assert refused.value.problem.startswith(problem)
