"""Run as a program: forks children that write to a database, and kills each at a random moment with SIGKILL.

Arguments: the database's URL, the number of kills, a seed. Prints one JSON object: what the children were told was
written (`tokens`: ids; `usage`: number of batches of one request each) before they were killed.
"""

import json
import os
import random
import signal
import sys
import time
from datetime import date

from handful.store.database import Database
from handful.store.tokens import NewToken, Tokens
from handful.store.usage import Usage, UsageKey, UsageLedger


def write_for_ever(url: str, writer_id: str, out: int) -> None:
    """Write and acknowledge, one line for each record, until killed."""
    database = Database(url)
    tokens, ledger = Tokens(database), UsageLedger(database)
    for batch in range(1, 10**9):
        ledger.add(writer_id, batch, {UsageKey(date(2026, 1, 1), "", "m"): Usage(1, 2, 3, 4, 5)})
        os.write(out, b"usage\n")
        token, _ = tokens.create(NewToken())
        os.write(out, f"{token.id}\n".encode())


def run_one(url: str, number: int, lives_s: float) -> list[str]:
    """The lines of a child that was killed after some time."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            write_for_ever(url, f"w{number}", writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as lines:
        first = lines.readline()  # it is writing now: what follows is random
        time.sleep(lives_s)
        os.kill(child, signal.SIGKILL)
        rest = lines.read()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child failed before it was killed"
    return (first + rest).split()


def main() -> None:
    """Kill as often as told."""
    url, num_kills, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    lines = [line for number in range(num_kills) for line in run_one(url, number, chance.uniform(0.0, 0.04))]
    told = {"tokens": [line for line in lines if line != "usage"], "usage": lines.count("usage")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
