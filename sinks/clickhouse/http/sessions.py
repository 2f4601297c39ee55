"""Which sessions there are, whose turn it is, and which have been idle for too long. Pure: opens and closes nothing."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.limits import Rights

H = TypeVar("H")

SESSION_IS_LOCKED = 373


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Sessions of different users and rights never meet."""

    user: str
    session_id: str
    rights: Rights


@dataclass(slots=True, eq=False)
class Session(Generic[H]):
    """One session; `handle` is None until its first request has opened it."""

    handle: H | None = None
    expires_at_s: float = 0.0
    is_lent: bool = True


class Sessions(Generic[H]):
    """Sessions by key, at most `limit` idle ones: clickhouse-connect opens one per client and closes none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sessions: dict[SessionKey, Session[H]] = {}

    def borrow(self, key: SessionKey, *, now_s: float, timeout_s: float) -> Session[H]:
        """Take a session for one request; it is made if there is none.

        Raises:
            StatementError: another request has it.
        """
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session()
        elif session.is_lent:
            raise StatementError(
                f"Session {key.session_id} is locked by a concurrent client",
                engine_code=SESSION_IS_LOCKED,
                name="SESSION_IS_LOCKED",
            )
        session.is_lent, session.expires_at_s = True, now_s + timeout_s
        return session

    def drop(self, key: SessionKey) -> None:
        """Forget a session that could not be opened."""
        del self._sessions[key]

    def overdue(self, now_s: float) -> list[H]:
        """Forget sessions past their timeout, and those that would be next beyond the limit; returns their handles."""
        idle = [(key, session) for key, session in self._sessions.items() if not session.is_lent]
        idle.sort(key=lambda pair: pair[1].expires_at_s)
        surplus = len(idle) - self._limit
        overdue = [key for rank, (key, session) in enumerate(idle) if session.expires_at_s < now_s or rank < surplus]
        return [handle for key in overdue if (handle := self._sessions.pop(key).handle) is not None]

    def handles(self) -> list[H]:
        """Handles of all sessions."""
        return [session.handle for session in self._sessions.values() if session.handle is not None]
