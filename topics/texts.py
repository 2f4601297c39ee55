"""What the account keeps of the texts of requests: their lengths and hashes, all of them, or nothing. Pure.

A hash is the same for equal texts of one tenant, on every machine, and says nothing else about a text that nobody can
guess. Without a key, anybody who can read the account can test a guess; with one, only who has the key. Whoever reads
it sees which requests of a tenant had equal texts.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from topics.bodies import Body, ChatBody, Message
from topics.trace_rows import RequestRow, TextRow

Keeping = Literal["none", "hash", "full"]
"""`hash` keeps lengths and hashes, `full` the texts too."""
ANY_TENANT: Final = "*"
MAX_KEPT_CHARS: Final = 100_000
"""Of each text; the lengths tell what was cut off. Two such texts fit into one record."""


class TextColumns(NamedTuple):
    """What a request's row says of its texts; 0 for what is not kept or not known. Lengths are in characters."""

    prompt_chars: int = 0
    prompt_hash: int = 0
    answer_chars: int = 0
    answer_hash: int = 0


NO_TEXTS: Final = TextColumns()


class KeptTexts(NamedTuple):
    """What the account keeps of the texts of one request; `is_full` where it is the texts, too."""

    columns: TextColumns = NO_TEXTS
    prompt: str = ""
    answer: str = ""
    is_full: bool = False

    def rows(self, row: RequestRow) -> tuple[TextRow, ...]:
        """The texts themselves, of the request that a row is of."""
        return (text_row(row, prompt=self.prompt, answer=self.answer),) if self.is_full else ()


class TextRules(Struct, kw_only=True, frozen=True):
    """How the texts of each tenant are kept.

    Attributes:
        tenants: those that are configured, with `ANY_TENANT` for the others; without that, theirs are hashed.
        key: of the hashes; empty for none.
    """

    tenants: Mapping[str, Keeping] = {}
    key: str = ""

    def of(self, tenant: str) -> Keeping:
        """What applies to a tenant."""
        return self.tenants.get(tenant) or self.tenants.get(ANY_TENANT, "hash")

    def kept(self, tenant: str, *, prompt: Callable[[], str], answer: str) -> KeptTexts:
        """What is kept of a request that has ended; its prompt is asked for only where something is."""
        keeping = self.of(tenant)
        if keeping == "none":
            return KeptTexts()
        said = prompt()
        return KeptTexts(self.columns(tenant, prompt=said, answer=answer), said, answer, keeping == "full")

    def columns(self, tenant: str, *, prompt: str, answer: str) -> TextColumns:
        """What the row of a request says of its texts."""
        if self.of(tenant) == "none":
            return NO_TEXTS
        return TextColumns(len(prompt), self._hash(tenant, prompt), len(answer), self._hash(tenant, answer))

    def _hash(self, tenant: str, text: str) -> int:
        """A whole number below 2**64; 0 for the empty text."""
        if not text:
            return 0
        # A lone surrogate is valid JSON, and no text.
        key = blake2b(self.key.encode(), digest_size=32).digest() if self.key else b""
        digest = blake2b(f"{tenant}\0{text}".encode("utf-8", "surrogatepass"), key=key, digest_size=8)
        return int.from_bytes(digest.digest(), "little")


NOTHING_KEPT: Final = TextRules(tenants={ANY_TENANT: "none"})


def prompt_of(body: Body) -> str:
    """The prompt as one text: of a chat, each message behind its role; of token ids, the numbers."""
    if isinstance(body, ChatBody):
        return "\n".join([f"{message.role}: {_content(message)}" for message in body.messages])
    return body.prompt if isinstance(body.prompt, str) else " ".join(map(str, body.prompt))


def text_row(row: RequestRow, *, prompt: str, answer: str) -> TextRow:
    """The texts of the request that a row is of."""
    return TextRow(
        ts=row.produced_ts,
        request_id=row.request_id,
        lane_topic=row.lane_topic,
        lane_partition=row.lane_partition,
        lane_offset=row.lane_offset,
        attempt=row.attempt,
        tenant=row.tenant,
        latency_class=row.latency_class,
        model=row.model,
        deployment=row.deployment,
        prompt=_storable(prompt),
        answer=_storable(answer),
    )


def _storable(text: str) -> str:
    return text[:MAX_KEPT_CHARS].encode("utf-8", "replace").decode()


def _content(message: Message) -> str:
    if isinstance(message.content, list):
        return "".join([str(part.get("text", "")) for part in message.content])
    return message.content or ""
