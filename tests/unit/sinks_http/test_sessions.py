"""Sessions: one request at a time, forgotten when idle."""

import pytest

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.limits import Rights
from sinks.clickhouse.http.sessions import SessionKey, Sessions


def key(session_id: str = "s", *, user: str = "u", rights: Rights = Rights.WRITE) -> SessionKey:
    return SessionKey(user, session_id, rights)


def test_a_session_is_for_one_request_at_a_time() -> None:
    sessions: Sessions[str] = Sessions(limit=2)
    session = sessions.borrow(key(), now_s=0, timeout_s=60)
    with pytest.raises(StatementError, match="SESSION_IS_LOCKED"):
        sessions.borrow(key(), now_s=1, timeout_s=60)
    session.is_lent = False
    assert sessions.borrow(key(), now_s=2, timeout_s=60) is session


def test_users_do_not_share_sessions() -> None:
    sessions: Sessions[str] = Sessions(limit=2)
    session = sessions.borrow(key(), now_s=0, timeout_s=60)
    assert sessions.borrow(key(user="v"), now_s=0, timeout_s=60) is not session
    assert sessions.borrow(key(rights=Rights.READ), now_s=0, timeout_s=60) is not session


def test_a_session_is_forgotten_after_its_timeout_but_never_while_it_runs() -> None:
    sessions: Sessions[str] = Sessions(limit=9)
    for name, is_lent in (("running", True), ("idle", False)):
        session = sessions.borrow(key(name), now_s=0, timeout_s=60)
        session.handle, session.is_lent = name, is_lent
    assert sessions.overdue(60) == []
    assert sessions.overdue(61) == ["idle"]
    assert sessions.handles() == ["running"]


def test_beyond_the_limit_the_next_to_expire_goes() -> None:
    sessions: Sessions[str] = Sessions(limit=1)
    for at_s, name in enumerate(("old", "young")):
        session = sessions.borrow(key(name), now_s=at_s, timeout_s=60)
        session.handle, session.is_lent = name, False
    assert sessions.overdue(2) == ["old"]


def test_a_session_that_could_not_be_opened_is_not_locked() -> None:
    sessions: Sessions[str] = Sessions(limit=1)
    first = sessions.borrow(key(), now_s=0, timeout_s=60)
    sessions.drop(key())
    assert sessions.borrow(key(), now_s=0, timeout_s=60) is not first
