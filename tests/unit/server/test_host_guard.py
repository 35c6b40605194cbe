"""Which host names and which web pages are answered."""

import pytest

from handful.server.host_guard import LOOPBACK_NAMES, host_name, is_loopback
from tests.unit.server.serving import FakeModel, client_of, run, state_with


def status(headers: dict[str, str], allowed: frozenset[str] | None) -> int:
    async def check() -> int:
        async with client_of(state_with(FakeModel(), allowed_hosts=allowed)) as client:
            return (await client.get("/health", headers=headers)).status_code

    return run(check())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_names_of_a_loopback_address_are_answered(host: str) -> None:
    assert status({"host": host}, LOOPBACK_NAMES) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example/localhost", "evil@x", "127.0.0.1.nip.io", "", "[::1"],
)
def test_other_names_are_refused_on_a_loopback_address(host: str) -> None:
    assert status({"host": host}, LOOPBACK_NAMES) == 403


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]"])
def test_pages_of_this_machine_are_answered(origin: str) -> None:
    assert status({"host": "localhost", "origin": origin}, LOOPBACK_NAMES) == 200


@pytest.mark.parametrize(
    "origin", ["null", "", "http://evil.example", "file://", "chrome-extension://localhost", "localhost"]
)
@pytest.mark.parametrize("allowed", [LOOPBACK_NAMES, None])
def test_pages_of_other_origins_are_refused_everywhere(origin: str, allowed: frozenset[str] | None) -> None:
    assert status({"host": "localhost", "origin": origin}, allowed) == 403


def test_an_open_server_answers_to_any_name_and_its_own_pages() -> None:
    assert status({"host": "models.example:80"}, None) == 200
    assert status({"host": "models.example:80", "origin": "http://models.example"}, None) == 200


def test_a_name_that_was_allowed_is_answered() -> None:
    assert status({"host": "box.local"}, LOOPBACK_NAMES | {"box.local"}) == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("127.evil", False),
    ],
)
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_malformed_authority_has_no_name() -> None:
    assert host_name("[") == ""
