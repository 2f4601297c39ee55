"""Who may ask: users with a password, some of them read-only. Pure; knows no grants, roles or quotas."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sinks.clickhouse.http.errors import AUTHENTICATION_FAILED, REQUIRED_PASSWORD, StatementError

DEFAULT_USER = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of the HTTP interface. An empty password lets everyone in who can reach the port."""

    name: str
    password: str = field(default="", repr=False)
    readonly: bool = False
    """May read and change settings for its own statements; may neither write nor kill."""


class Access:
    """Tells users apart by what a request carries: headers first, then Basic credentials, then the URL.

    Source: ClickHouse's HTTP interface: `X-ClickHouse-User` and `X-ClickHouse-Key`, `Authorization: Basic`, `user` and
    `password`.
    """

    def __init__(self, users: Sequence[User]) -> None:
        self._users = {user.name: user for user in users}

    def authenticate(self, headers: Mapping[str, str], url: Mapping[str, str]) -> User:
        """Find the user.

        Raises:
            StatementError: unknown, or a wrong password; which of the two is not told.
        """
        credentials = _credentials(headers, url)
        name, password = credentials or (DEFAULT_USER, "")
        user = self._users.get(name)
        expected = user.password if user else ""
        is_match = hmac.compare_digest(expected.encode(), password.encode())
        if user is not None and is_match:
            return user
        if credentials is None:
            raise StatementError(
                "Credentials are required: send X-ClickHouse-User and X-ClickHouse-Key, or HTTP Basic ones",
                engine_code=REQUIRED_PASSWORD,
                name="REQUIRED_PASSWORD",
            )
        raise StatementError(
            f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
            engine_code=AUTHENTICATION_FAILED,
            name="AUTHENTICATION_FAILED",
        )


def _credentials(headers: Mapping[str, str], url: Mapping[str, str]) -> tuple[str, str] | None:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", DEFAULT_USER), headers.get("X-ClickHouse-Key", "")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return _basic(encoded)
    if "user" in url or "password" in url:
        return url.get("user", DEFAULT_USER), url.get("password", "")
    return None


def _basic(encoded: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise StatementError(
            "The Basic credentials are not base64 of name:password",
            engine_code=AUTHENTICATION_FAILED,
            name="AUTHENTICATION_FAILED",
        ) from error
    return name or DEFAULT_USER, password
