"""In place of the process that examines: it does what the name of its path says (`test_apart.py`)."""

import os
import resource
import sys
import time
from pathlib import Path

from handful.confined import limit


def main() -> None:
    print('{"file": "tokenizer.json"}', flush=True)
    what = Path(sys.argv[1]).name
    if what == "aborts":
        os.abort()
    elif what == "computes":
        limit({resource.RLIMIT_CPU: 1})
        while True:
            pass
    elif what == "sleeps":
        time.sleep(60)
    elif what == "talks":
        while True:
            print('{"file": "tokenizer.json"}', flush=True)
    elif what == "lies":
        print('{"error": "SystemExit", "message": ["x"]}')
    elif what == "exits":
        sys.exit(3)
    else:
        Path(sys.argv[1]).touch()
        print('{"ok": ""}')
