"""What a server knows of its callers: made once from the database, handed to `create_app` within the state."""

import asyncio
from dataclasses import dataclass, field

from handful.server.auth import Authenticator
from handful.server.auth_store import StoreThreads
from handful.server.token_limits import TokenLimiter
from handful.server.usage_recorder import UsageRecorder
from handful.store.database import Database
from handful.store.tokens import Tokens
from handful.store.usage import UsageLedger


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may call, how much, and where it is written down. As it is made without arguments: anybody, nowhere."""

    threads: StoreThreads = field(default_factory=StoreThreads)
    authenticator: Authenticator = field(default_factory=lambda: Authenticator(required=False))
    limiter: TokenLimiter = field(default_factory=TokenLimiter)
    recorder: UsageRecorder | None = None
    database: Database | None = None

    @classmethod
    def over(cls, database: Database, *, tokens_required: bool) -> "Access":
        """Access by the tokens of a database, with usage written to it."""
        threads = StoreThreads()
        return cls(
            threads=threads,
            authenticator=Authenticator(Tokens(database), threads, required=tokens_required),
            recorder=UsageRecorder(UsageLedger(database)),
            database=database,
        )

    def start(self) -> None:
        """Begin to write usage."""
        if self.recorder is not None:
            self.recorder.start()

    async def close(self) -> None:
        """Write what is left and let go of the database's threads."""
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.close)
        self.threads.close()
