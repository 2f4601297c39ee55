"""Users by what a request carries."""

import base64

import pytest

from sinks.clickhouse.http.access import Access, User
from sinks.clickhouse.http.errors import StatementError

OPEN = Access([User(name="default"), User(name="viewer", readonly=True), User(name="ada", password="pä:ss")])
CLOSED = Access([User(name="ada", password="secret")])


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "url", "name"),
    [
        ({}, {}, "default"),
        ({"X-ClickHouse-User": "viewer"}, {}, "viewer"),
        ({"X-ClickHouse-User": "ada", "X-ClickHouse-Key": "pä:ss"}, {}, "ada"),
        (basic("ada:pä:ss"), {}, "ada"),
        (basic(":"), {}, "default"),
        ({}, {"user": "ada", "password": "pä:ss"}, "ada"),
        ({"X-ClickHouse-User": "viewer"}, {"user": "ada", "password": "no"}, "viewer"),
    ],
)
def test_credentials_are_found_wherever_they_are(headers: dict[str, str], url: dict[str, str], name: str) -> None:
    assert OPEN.authenticate(headers, url).name == name


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ClickHouse-User": "ada"},
        {"X-ClickHouse-User": "nobody"},
        {"X-ClickHouse-Key": "guess"},
        basic("ada:pass"),
        {"Authorization": "Basic !"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:").decode()},
    ],
)
def test_wrong_credentials_are_forbidden(headers: dict[str, str]) -> None:
    with pytest.raises(StatementError) as caught:
        OPEN.authenticate(headers, {})
    assert (caught.value.engine_code, caught.value.status) == (516, 403)


def test_no_credentials_are_asked_for() -> None:
    with pytest.raises(StatementError) as caught:
        CLOSED.authenticate({}, {})
    assert (caught.value.engine_code, caught.value.status) == (194, 401)


def test_unknown_user_and_wrong_password_read_alike() -> None:
    messages = set()
    for access in (CLOSED, Access([])):
        with pytest.raises(StatementError) as caught:
            access.authenticate(basic("ada:guess"), {})
        messages.add(caught.value.message)
    assert len(messages) == 1


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(User(name="ada", password="secret"))
