"""Answers described for /openapi.json: shapes of what other files write, held against real answers by the tests."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """An object of an answer with all the keys it can have; those with a default may be missing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Example = Any
"""An answer as JSON-ready values, made by what writes the answers."""
