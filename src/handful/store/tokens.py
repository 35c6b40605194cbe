"""API tokens: `hf_` and 256 random bits. The database has the SHA-256 of a token and never the token.

A token is found by its hash, so what a lookup's time says is about the hash, which nobody can steer. A plain hash is
enough: against 256 random bits there is no dictionary.
"""

import hashlib
import hmac
import re
import secrets
import string
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Select, select, update
from sqlalchemy.exc import IntegrityError

from handful.errors import InvalidParameterError, NotFoundError
from handful.store.accounts import check_label
from handful.store.database import Database
from handful.store.tables import accounts, api_tokens

PREDICT, MANAGE, ADMIN = "predict", "manage", "admin"
SCOPES = (PREDICT, MANAGE, ADMIN)
"""`admin` beside `manage`: what reaches beyond an account, such as naming files of the server."""
DEFAULT_ACCOUNT = "default"
_ALPHABET = string.ascii_letters + string.digits
_NUM_CHARACTERS = 43  # 62 ** 43 is a little more than 2 ** 256
_NUM_SHOWN = 8
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{43}", re.ASCII)
_MAX_LIMIT = 10**12


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """What a token may ask for. None is no limit. `tokens_per_minute` counts the model's: read and generated."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def __post_init__(self) -> None:
        """Raises InvalidParameterError for a number out of range."""
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not 1 <= value <= _MAX_LIMIT:
                raise InvalidParameterError(name, f"must be from 1 to {_MAX_LIMIT}, not {value}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """A token as the database knows it. Times in seconds since 1970; None is never."""

    id: str
    account: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    limits: TokenLimits = TokenLimits()

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything at a time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """What to make a token with. Raises InvalidInputError, InvalidParameterError for what can't be."""

    account: str = DEFAULT_ACCOUNT
    name: str = "token"
    scopes: tuple[str, ...] = (PREDICT,)
    lifetime_s: int | None = None
    limits: TokenLimits = TokenLimits()

    def __post_init__(self) -> None:
        check_label("a token", self.name)
        unknown = [scope for scope in self.scopes if scope not in SCOPES]
        if unknown or not self.scopes:
            raise InvalidParameterError("scope", f"must be one of {', '.join(SCOPES)}, not {''.join(unknown[:1])!r}.")
        if self.lifetime_s is not None and self.lifetime_s < 1:
            raise InvalidParameterError("lifetime_s", "must be at least one second.")


def hash_of(secret: str) -> str:
    """The SHA-256 of a token, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Tokens:
    """The tokens of a database. All methods block and raise StoreError where the database can't be used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewToken) -> tuple[ApiToken, str]:
        """A token and its secret, which exists nowhere else. Raises NotFoundError where its account isn't there.

        The account `default` is made when it is first needed.
        """
        secret = "hf_" + "".join(secrets.choice(_ALPHABET) for _ in range(_NUM_CHARACTERS))
        now = int(time.time())
        token = ApiToken(
            id=secrets.token_hex(6),
            account=new.account,
            name=new.name,
            prefix=secret[:_NUM_SHOWN],
            scopes=tuple(scope for scope in SCOPES if scope in new.scopes),
            created_at=now,
            expires_at=None if new.lifetime_s is None else now + new.lifetime_s,
            limits=new.limits,
        )
        with self._database.writing() as connection:
            values = _values(token) | {"sha256": hash_of(secret), "account_id": _account_id(connection, new.account)}
            connection.execute(api_tokens.insert().values(values))
        return token, secret

    def find(self, secret: str) -> ApiToken | None:
        """The token with this secret, valid or not any more. None for anything else, whatever it is made of."""
        if not _TOKEN.fullmatch(secret):
            return None
        wanted = hash_of(secret)
        with self._database.reading() as connection:
            row = connection.execute(_selected().where(api_tokens.c.sha256 == wanted)).one_or_none()
        return _token(row) if row is not None and hmac.compare_digest(row.sha256, wanted) else None

    def list(self) -> list[ApiToken]:
        """All tokens, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_selected().order_by(api_tokens.c.created_at, api_tokens.c.id)).all()
        return [_token(row) for row in rows]

    def revoke(self, token_id: str) -> ApiToken:
        """End a token for good, from the next request on. Raises NotFoundError. Once revoked it stays as it is."""
        is_it, is_open = api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None)
        with self._database.writing() as connection:
            connection.execute(update(api_tokens).where(is_it, is_open).values(revoked_at=int(time.time())))
            row = connection.execute(_selected().where(is_it)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no token {token_id[:40]!r}.", fix="See `handful tokens list` for their ids.")
        return _token(row)


def _selected() -> Select[tuple[object, ...]]:
    return select(api_tokens, accounts.c.name.label("account")).join(accounts)


def _token(row: Row[tuple[object, ...]]) -> ApiToken:
    return ApiToken(
        id=row.id,
        account=row.account,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes.split()),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        limits=TokenLimits(row.requests_per_minute, row.tokens_per_minute, row.concurrent_requests),
    )


def _values(token: ApiToken) -> dict[str, object]:
    limits = token.limits
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": " ".join(token.scopes),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "requests_per_minute": limits.requests_per_minute,
        "tokens_per_minute": limits.tokens_per_minute,
        "concurrent_requests": limits.concurrent_requests,
    }


def _account_id(connection: Connection, name: str) -> int:
    query = select(accounts.c.id).where(accounts.c.name == name)
    found = connection.execute(query).scalar_one_or_none()
    if found is None and name == DEFAULT_ACCOUNT:
        values = {"name": name, "kind": "user", "created_at": int(time.time())}
        try:
            with connection.begin_nested():
                return int(connection.execute(accounts.insert().values(values).returning(accounts.c.id)).scalar_one())
        except IntegrityError:  # another process has just made it
            found = connection.execute(query).scalar_one()
    if found is None:
        fix = "Make it with `handful users create`, or see `handful users list`."
        raise NotFoundError(f"There is no account {name[:100]!r}.", fix=fix)
    return int(found)
