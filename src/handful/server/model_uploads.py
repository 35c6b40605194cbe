"""Files of a model that is uploaded: kept apart until all of it was looked at, and never executed.

    HANDFUL_HOME/uploads/incoming/ACCOUNT/NAME/FILE     what arrived so far; nobody reads it
    HANDFUL_HOME/uploads/models/ID/                     what was checked; a model is served from there

Names of accounts and models have no path in them (`check_name`), files' names are of a short list of forms. Weights are
safetensors, so there is no format among them that could hold code; `config.json` can name some, and nobody runs it.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from handful.errors import ConflictError, InvalidInputError, InvalidParameterError, StoreError
from handful.server.errors import BodyTooLargeError, ClientLeftError, SlowBodyError

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,32}){0,2}\.(safetensors|json|txt)", re.ASCII)
_PIECE_BYTES = 1 << 20
MAX_FILES = 256


class Uploads:
    """The uploads of a server. Its methods raise HandfulError with what is wrong."""

    def __init__(self, folder: Path, max_bytes: int, silence_s: float = 30.0) -> None:
        self._incoming, self._models = folder / "incoming", folder / "models"
        self._max_bytes, self._silence_s = max_bytes, silence_s

    async def receive(self, name: str, file: str, body: AsyncIterator[bytes], declared_bytes: int) -> int:
        """Keep one file of the model `account/name`; the file is there whole or not at all. Returns its bytes."""
        if not _FILE.fullmatch(file):
            fix = "Upload config.json, the weights as .safetensors, and the tokenizer's .json and .txt files."
            raise InvalidParameterError("filename", f"{file[:100]!r} is not taken.", fix=fix)
        folder = self._incoming / name
        account = folder.parent
        await asyncio.to_thread(_make, folder)
        left = self._max_bytes - await asyncio.to_thread(_num_bytes, account, folder / file)
        if declared_bytes > left:
            raise self._too_large()
        part = folder / f".{secrets.token_hex(8)}.part"
        try:
            written = await self._write(part, body, left)
            await asyncio.to_thread(os.replace, part, folder / file)
        except OSError as error:
            raise StoreError(f"The file can't be kept: {error.strerror}.", fix="Is there room on the disk?") from None
        finally:
            await asyncio.to_thread(part.unlink, missing_ok=True)
        return written

    async def _write(self, part: Path, body: AsyncIterator[bytes], left: int) -> int:
        written = 0
        with await asyncio.to_thread(part.open, "wb") as out:
            held = bytearray()
            while (piece := await self._next(body)) is not None:
                written += len(piece)
                if written > left:
                    raise self._too_large()
                held += piece
                if len(held) >= _PIECE_BYTES:
                    await asyncio.to_thread(out.write, bytes(held))
                    held.clear()
            await asyncio.to_thread(out.write, bytes(held))
            await asyncio.to_thread(_to_disk, out)
        return written

    async def _next(self, body: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._silence_s):
                return await anext(body, None)
        except TimeoutError:
            raise SlowBodyError(f"Nothing of the file came for {self._silence_s:g} seconds.") from None

    def arrived(self, name: str) -> Path:
        """Where the files of a model are that came so far. Raises InvalidInputError where there are none. Blocks."""
        folder = self._incoming / name
        if not folder.is_dir() or not any(folder.iterdir()):
            fix = f"Send them first: PUT /api/models/{name}/files/config.json and so on."
            raise InvalidInputError(f"No files of {name} have been uploaded.", fix=fix)
        return folder

    def keep(self, folder: Path) -> Path:
        """Move what arrived, and was examined, to where it is served from. Blocks. Raises ConflictError."""
        self._models.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return folder.rename(self._models / secrets.token_hex(16))
        except FileNotFoundError:
            raise ConflictError("The upload has been registered meanwhile.") from None

    def put_back(self, folder: Path, name: str) -> None:
        """Undo `keep`: the model could not be registered."""
        folder.rename(self._incoming / name)

    def delete(self, folder: Path) -> None:
        """Remove the files of a model that was served. Blocks."""
        if folder.parent == self._models:
            shutil.rmtree(folder, ignore_errors=True)

    def _too_large(self) -> BodyTooLargeError:
        limit = self._max_bytes >> 20
        return BodyTooLargeError(f"An account's uploads may have {limit} MiB until they are registered.")


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sum(1 for _ in folder.iterdir()) >= MAX_FILES:
        raise InvalidInputError(f"The upload has {MAX_FILES} files already, the most there are.")
    if sum(1 for _ in folder.parent.iterdir()) > MAX_FILES:
        raise InvalidInputError(
            "There are too many unfinished uploads.", fix="Register them, or use their names again."
        )


def _num_bytes(account: Path, replaced: Path) -> int:
    """What an account's unfinished uploads have, but for the file that is replaced."""
    files = [file for file in account.rglob("*") if file.is_file() and file != replaced]
    return sum(file.stat().st_size for file in files)


def _to_disk(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


async def body_of(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A request's body; ClientLeftError where its sender goes away."""
    from starlette.requests import ClientDisconnect

    try:
        async for piece in stream:
            yield piece
    except ClientDisconnect:
        raise ClientLeftError("The client left before the file was complete.") from None
