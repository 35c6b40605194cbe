"""Running a model in this process: from its name to a `Backend`."""

from handful.local.load import load
from handful.local.model import LocalModel

__all__ = ["LocalModel", "load"]
