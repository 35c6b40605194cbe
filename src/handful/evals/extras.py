"""The libraries that only an evaluation needs: imported when they are, refused by name where they are missing."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from handful.errors import UserError

_INSTALL = "Install handful's extra for evaluations: pip install 'handful[evals]'."


def require(module: str, purpose: str) -> None:
    """Raise `UserError` unless `module` is installed; nothing is imported."""
    if find_spec(module.partition(".")[0]) is None:
        raise UserError(f"{purpose} needs {module.partition('.')[0]}, which isn't installed.", fix=_INSTALL)


def load(module: str, purpose: str) -> Any:
    """The module. Raises `UserError` where it isn't installed."""
    require(module, purpose)
    return import_module(module)
