"""The process that renders chat templates: one line of JSON in, one line of JSON out, until its input ends.

It has no network to speak of and nothing to give away: its environment is empty, it can write no file and start no
process, and its memory is bounded. Whoever started it (`confined.start`) ends it when a line takes too long.
"""

import json
import resource
import sys

from handful.confined import NOTHING_WRITTEN, limit
from handful.errors import InvalidInputError
from handful.protocol.chat_template import render

MAX_MEMORY_BYTES = 512 * 1024 * 1024


def limit_process() -> None:
    """Bound what this process can do, whatever a template makes it do."""
    limit(NOTHING_WRITTEN | {resource.RLIMIT_AS: MAX_MEMORY_BYTES, resource.RLIMIT_NOFILE: 8})


def answer(line: bytes) -> bytes:
    """The answer to one line: `{"prompt": ...}` or `{"error": sentence}`."""
    asked = json.loads(line)
    try:
        prompt = render(asked["template"], asked["messages"], asked["special_tokens"])
        said = {"prompt": prompt}
        return json.dumps(said).encode() + b"\n"
    except InvalidInputError as error:
        return json.dumps({"error": str(error)}).encode() + b"\n"
    except (MemoryError, RecursionError):
        return b'{"error": "The model\'s chat template needs too much memory."}\n'


def main() -> None:
    """Serve lines. The first line out is empty: ready."""
    limit_process()
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answer(line))
        sys.stdout.buffer.flush()
