"""The tables as they are now; `migrations/` has how they came to be, and a test that both agree.

Times are whole seconds since 1970 (UTC), because SQLite has no type for them. No table holds a token, only its hash.
"""

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Integer, MetaData, String, Table

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}
metadata = MetaData(naming_convention=NAMING)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(96), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),  # "user" or "organisation": they share one space of names
    Column("created_at", BigInteger, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("organisation_id", ForeignKey("accounts.id"), primary_key=True),
    Column("user_id", ForeignKey("accounts.id"), primary_key=True),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", String(96), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("scopes", String(96), nullable=False),  # names, separated by spaces
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("concurrent_requests", BigInteger),
)

usage = Table(
    "usage",
    metadata,
    Column("day", Date, primary_key=True),
    Column("token_id", String(12), primary_key=True),  # "" is a caller without a token, so it can't be a foreign key
    Column("model", String(200), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("input_characters", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("generated_tokens", BigInteger, nullable=False),
    Column("compute_us", BigInteger, nullable=False),
)

usage_writers = Table(
    "usage_writers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("last_batch", BigInteger, nullable=False),
    Column("written_at", BigInteger, nullable=False),
)
