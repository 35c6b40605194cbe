"""What an account brings is examined before it is registered (`model/apart.py`): what is wrong is told to who sent it.

Loading examines a model again, unless its files are as they were: they may have changed since.
"""

import asyncio
import re
from pathlib import Path

from handful.errors import HandfulError, InvalidInputError, InvalidParameterError, UserError
from handful.model.apart import Examination
from handful.model.checkpoint import has_weights, no_weights

_ABOVE = re.compile(r"(?<![\w.~-])~?/(?:[^\s/:]+/)+")
_AT_ONCE = 2


class ModelExaminer:
    """Examines a few models at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def check_upload(self, folder: Path, name: str) -> None:
        """Raises InvalidInputError where what arrived is no model. Who gives up waiting ends the examination."""
        try:
            await self._examine(folder, name)
        except UserError as error:
            problem = told_to_owner(error, folder)
            raise InvalidInputError(f"The upload is no model: {problem}", fix="Send the file again.") from None

    async def check_path(self, path: Path, name: str) -> None:
        """The same of a folder or GGUF file of the server's, whose path the caller knows. InvalidParameterError."""
        try:
            await self._examine(path, name)
        except UserError as error:
            raise InvalidParameterError("path", f"holds no model: {error.message}", fix=error.fix) from None

    async def _examine(self, path: Path, name: str) -> None:
        async with self._turns:
            examination = Examination(path, name)
            try:
                await asyncio.to_thread(examination.wait)
            except asyncio.CancelledError:
                examination.give_up()
                raise
        if await asyncio.to_thread(lambda: path.is_dir() and not has_weights(path)):
            raise no_weights(path)


def told_to_owner(error: HandfulError, folder: Path | None) -> str:
    """What is wrong with a model's files, without where they lie on this server's disk (None: in the Hub's cache)."""
    said = error.message if folder is None else error.message.replace(f"{folder}/", "").replace(str(folder), "it")
    return _ABOVE.sub("", said)
