"""Which files a model was loaded from, so that an answer of other weights is never taken for one of these."""

import hashlib
from pathlib import Path

MAX_READ_BYTES = 1024 * 1024


def fingerprint(folder: Path) -> str:
    """A checksum of a model's folder. Small files count with their content, large ones with size and time of change."""
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if not file.is_file():
            continue
        state = file.stat()
        content = file.read_bytes() if state.st_size <= MAX_READ_BYTES else str(state.st_mtime_ns).encode()
        found.update(f"{file.name}\0{state.st_size}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()
