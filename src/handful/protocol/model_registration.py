"""The request that registers a model: its name, where its files are, and who sees it.

POST /api/models   {"name": "mine", "hub_id": "ada/mine", "revision": "main", "hub_token": "hf_...", "private": true}
"""

import re

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from handful.checks import check_revision
from handful.errors import InvalidInputError, InvalidParameterError
from handful.protocol.names import check_name
from handful.protocol.payload import parse_json
from handful.protocol.problems import validate

_TOKEN = re.compile(r"[!-~]{1,256}", re.ASCII)
_SOURCES = ("hub_id", "path", "upload")
_EXAMPLE: dict[str, JsonValue] = {"name": "mine", "hub_id": "ada/mine", "revision": "main"}


class ModelRegistration(BaseModel):
    """`POST /api/models`: exactly one of `hub_id`, `path` and `upload`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    name: str = Field(description="Its name behind that of the account: `mine` or `account/mine`.", max_length=193)
    private: bool = Field(default=True, description="Only tokens of the account see it.")
    hub_id: str | None = Field(default=None, description="A model of the Hugging Face Hub.", max_length=193)
    revision: str | None = Field(default=None, description="With `hub_id`: a branch, tag or commit.", max_length=128)
    hub_token: str | None = Field(
        default=None,
        description="With `hub_id`: your token of the Hub. Kept in memory only.",
        max_length=256,
        repr=False,
    )
    path: str | None = Field(
        default=None, description="A folder or file of the server; scope `admin`.", max_length=4096
    )
    upload: bool = Field(default=False, description="The files that were put under this name.")

    @classmethod
    def from_body(cls, body: bytes) -> "ModelRegistration":
        """Parse and check a body. Raises InvalidInputError, InvalidParameterError naming what to change."""
        asked = validate(cls, parse_json(body))
        given = [name for name in _SOURCES if getattr(asked, name)]
        if len(given) != 1:
            raise InvalidInputError("Give one of `hub_id`, `path` and `upload`.")
        for name in ("revision", "hub_token"):
            if getattr(asked, name) is not None and asked.hub_id is None:
                raise InvalidParameterError(name, "is for models of the Hub.", fix="Leave it out.")
        if asked.hub_id is not None:
            check_name("model", asked.hub_id)
        check_revision("revision", asked.revision)
        if asked.hub_token is not None and not _TOKEN.fullmatch(asked.hub_token):
            raise InvalidParameterError("hub_token", "holds characters that no token has.")
        check_name("model", asked.name)
        return asked
