"""Settings from the environment."""

import pytest

from handful import config
from handful.config import Settings, settings
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


@pytest.mark.parametrize(
    ("gibibytes", "taken_mb"), [(None, 2048), (64, 2048), (8, 2048), (4, 1024), (1, 256), (0.03, 16)]
)
def test_keys_and_values_take_a_quarter_of_a_small_machine(
    gibibytes: float | None, taken_mb: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HANDFUL_KV_MEMORY_MB", raising=False)
    monkeypatch.setattr(config, "usable_memory", lambda: None if gibibytes is None else int(gibibytes * 2**30))
    assert Settings().kv_memory_mb == taken_mb
    assert Settings(kv_memory_mb=3000).kv_memory_mb == 3000


@pytest.mark.parametrize(
    ("slip", "right"),
    [("THREAD", "THREADS"), ("KV_MEMORY", "KV_MEMORY_MB"), ("MODELS", "MODEL"), ("DATABASE", "DATABASE_URL")],
)
def test_a_slip_in_a_name_is_refused_with_the_right_one(slip: str, right: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HANDFUL_{slip}", "4")
    with pytest.raises(InvalidParameterError) as refused:
        settings.__wrapped__()
    assert str(refused.value) == f"`HANDFUL_{slip}` is no setting. Did you mean `HANDFUL_{right}`?"


@pytest.mark.parametrize("name", ["PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "X"])
def test_a_variable_of_somebody_elses_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HANDFUL_{name}", "tcp://10.0.0.1:8000")
    settings.__wrapped__()


@pytest.mark.parametrize("name", ["THREADS", "HOME", "MODEL", "TOKEN"])
def test_an_empty_variable_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"HANDFUL_{name}", "")
    assert getattr(settings.__wrapped__(), name.lower()) == Settings.model_fields[name.lower()].default
