"""The tables as they are now; `migrations/` has how they came to be, and a test that both agree.

Times are whole seconds since 1970 (UTC), because SQLite has no type for them. No table holds a token, only its hash.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

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

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("space", Integer, nullable=False),  # in which its name is unique: 0 for public ones, else the owner's id
    Column("name", String(64), nullable=False),
    Column("owner_id", ForeignKey("accounts.id")),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("space", "name"),
)

task_versions = Table(
    "task_versions",
    metadata,
    Column("task_id", ForeignKey("tasks.id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),  # JSON with the keys of a task file
    Column("created_at", BigInteger, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(193), nullable=False, unique=True),
    Column("owner_id", ForeignKey("accounts.id")),
    Column("is_private", Boolean, nullable=False),
    Column("kind", String(16), nullable=False),  # "path", "hub" or "upload": what `location` is
    Column("location", Text, nullable=False),
    Column("revision", String(200)),
    Column("created_at", BigInteger, nullable=False),
)

cached_responses = Table(
    "cached_responses",
    metadata,
    Column("key", String(64), primary_key=True),  # a SHA-256 of everything that the answer depends on
    Column("body", Text, nullable=False),  # JSON
    Column("num_bytes", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False, index=True),
)

pinned_models = Table(
    "pinned_models",
    metadata,
    Column("name", String(193), primary_key=True),  # as it is served: most models have no row of their own
)
