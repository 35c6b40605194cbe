"""The names that programs may rely on: whoever changes them changes this file, so nobody does it by chance."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import handful

PUBLIC = [
    "AsyncBackend",
    "AsyncClient",
    "Backend",
    "Client",
    "Completion",
    "Example",
    "FewShotClassifier",
    "Generation",
    "GenerationParameters",
    "HandfulError",
    "ModelInfo",
    "Prediction",
    "Score",
    "Task",
    "connect",
    "load",
]


def test_the_public_names_are_these() -> None:
    assert handful.__all__ == PUBLIC
    assert dir(handful) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(handful, name)
    assert found.__name__ == name
    assert len(inspect.getdoc(found) or "") > 20


def test_the_version_is_that_of_the_installed_package() -> None:
    assert handful.__version__ == version("handful")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = handful.nothing


def test_importing_handful_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "transformers", "httpx", "pydantic"}
    code = f"import handful, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
