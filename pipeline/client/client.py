"""The asynchronous client."""

from types import TracebackType
from typing import Any, Final, Self

from pipeline.client.answer import Result
from pipeline.client.ask import ask_of
from pipeline.client.connection import Connection
from pipeline.client.resume import ResponseLog, Resumed
from pipeline.client.search import Wanted
from pipeline.client.stream import Handle, Stream
from pipeline.client.timeouts import Timeouts
from pipeline.settings import KafkaSettings
from topics import names
from topics.errors import SettingsError
from topics.feedback import Feedback
from topics.requests import DEFAULT_TENANT, Cancellation, ReplyTo

DEFAULT_CLASS: Final = "interactive"


class Client:
    """Sends requests and reads their answers, any number at a time, over one producer and one consumer.

    Use as an async context, on one event loop. `stream`, `complete` and `submit` take the same keyword arguments:

    - `model`, and `latency_class` (`interactive` unless given): the lane.
    - `messages` (chat) or `prompt` (completion), and any other field of the OpenAI body, such as `max_tokens=64`.
    - `id`: a random one unless given. Identity is (tenant, model, id), and `cancel` goes by it. A second request with
      the same id and body gets the answer of the first; with another body it is rejected (`IdConflict`).
    - `deadline_ms`: from now on; the class has a default.
    - `session`: names the conversation that the request belongs to; carried along, without effect on routing yet.
    - `traceparent`: W3C trace context, passed on to every station; that of the active OpenTelemetry span unless given.
    - `timeouts`: instead of the client's.

    Args:
        brokers: `host:port[,host:port]`; instead of `kafka` where nothing else needs to be said.
        kafka: the broker and how to be let in.
        tenant: in whose name requests are sent.
        pool: reads `inference.responses.<pool>` instead of `inference.responses`.
        reply_partition: the partition to read; a random one unless given.
        client_id: shows in the broker's logs and quotas.
        timeouts: how long to wait, and for what.

    Raises:
        SettingsError: both `brokers` and `kafka` are given.
    """

    def __init__(
        self,
        *,
        brokers: str | None = None,
        kafka: KafkaSettings | None = None,
        tenant: str = DEFAULT_TENANT,
        pool: str = "",
        reply_partition: int | None = None,
        client_id: str = "millrace-client",
        timeouts: Timeouts | None = None,
    ) -> None:
        if brokers is not None and kafka is not None:
            raise SettingsError("both brokers and kafka are given; KafkaSettings(brokers=...) says the same")
        self._tenant = tenant
        self._timeouts = timeouts or Timeouts()
        settings = kafka or (KafkaSettings() if brokers is None else KafkaSettings(brokers=brokers))
        self._log = ResponseLog(settings=settings, topic=names.responses_topic(pool), client_id=client_id)
        self._connection = Connection(
            settings,
            topic=self._log.topic,
            partition=reply_partition,
            client_id=client_id,
            timeouts=self._timeouts,
        )

    @property
    def reply(self) -> ReplyTo:
        """The response partition that this client reads.

        Raises:
            TransportError: the client is not open.
        """
        return self._connection.reply

    @property
    def waiting(self) -> int:
        """Requests that the broker has and that have not ended."""
        return self._connection.waiting

    async def open(self) -> Self:
        """Connect.

        Raises:
            TransportError: no broker within `connect_s`.
            SettingsError: the response topic or the partition does not exist.
        """
        await self._connection.open()
        return self

    async def close(self) -> None:
        """Disconnect. Open streams are cancelled, submitted requests go on. Idempotent."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        """As `open`."""
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """As `close`."""
        await self.close()

    def stream(
        self, *, model: str, latency_class: str = DEFAULT_CLASS, timeouts: Timeouts | None = None, **fields: Any
    ) -> Stream:
        """A request whose answer comes token by token. It is sent when the stream is first used."""
        lane = names.Lane(model, latency_class)
        return Stream(
            self._connection, ask_of(lane, self._tenant, {"stream": True, **fields}, timeouts or self._timeouts)
        )

    async def complete(
        self, *, model: str, latency_class: str = DEFAULT_CLASS, timeouts: Timeouts | None = None, **fields: Any
    ) -> Result:
        """The whole answer at once, with OpenAI's response object in `body`. Cancelling the call cancels the request.

        Raises:
            PipelineError: it did not complete; the class says why.
        """
        lane = names.Lane(model, latency_class)
        stream = Stream(self._connection, ask_of(lane, self._tenant, fields, timeouts or self._timeouts))
        try:
            return await stream.result()
        finally:
            stream.leave()

    async def submit(
        self, *, model: str, latency_class: str = DEFAULT_CLASS, timeouts: Timeouts | None = None, **fields: Any
    ) -> Handle:
        """Hand a request over and return once the broker has it: it goes on whether or not its answer is read.

        It streams only with `stream=True`, and is waited for without limit unless `timeouts` is given.

        Raises:
            RequestError: the request can never be accepted, or no lane serves its model and class.
            TransportError: the broker did not acknowledge it in time.
        """
        lane = names.Lane(model, latency_class)
        return await Handle(self._connection, ask_of(lane, self._tenant, fields, timeouts)).open()

    def resume(
        self,
        id: str,
        *,
        after_seq: int = -1,
        restarts: int = 0,
        model: str | None = None,
        origin: str | None = None,
        reply: ReplyTo | None = None,
        timeouts: Timeouts | None = None,
    ) -> Resumed:
        """The rest of an answer after token `after_seq`, whoever sent the request, and also after its end.

        The log is read, not the request sent again: it works as long as the response topic keeps the answer. If the
        answer has begun again since the reader left it, one empty delta with `restarted=True` comes first and then
        all of it, as in `stream`. A reader that is ahead of the answer waits for the token after `after_seq`.

        With `id` alone all partitions of the client's response topic are read from their beginning. `reply` narrows
        that to one partition, `origin` to one partition from the request's own time on. Where several requests have
        the id it is the one whose answer began last. Tenants are not told apart here: who may read the topic may
        resume what lies in it.

        Args:
            id: the request's.
            after_seq: `last_seq` of the last delta that the reader has; a delta is never cut. -1 for the whole answer.
            restarts: how many of the deltas that the reader has had were `restarted`.
            model: only a request to this model.
            origin: address of the request, as `stream` and `submit` tell it.
            reply: the response partition, as `reply` of the client that has sent it; on another topic than this
                client's if need be.
            timeouts: instead of the client's; `first_token_s`, `idle_s` and `total_s` count from here on.
        """
        waits = timeouts or self._timeouts
        wanted = Wanted(id=id, after_seq=after_seq, restarts=restarts, model=model, origin=origin, reply=reply)
        return Resumed(self._connection, self._log, wanted, limits=waits.limits(None), find_s=waits.find_s)

    async def cancel(self, id: str, *, model: str) -> None:
        """Ask the pipeline to end a request of this tenant, whoever sent it. Its readers get `Cancelled`.

        Returns once the broker has it. A request that has ended, or does not exist, is left as it is.

        Raises:
            TransportError: not acknowledged within `send_s`.
        """
        await self._connection.cancel(Cancellation(id=id, model=model, tenant=self._tenant))

    async def feedback(
        self, id: str, *, signal: str, model: str = "", score: float | None = None, label: str = "", source: str = ""
    ) -> None:
        """Say how good an answer was: it lands beside the request in the account, and drift per version shows there.

        Args:
            id: the request's.
            model: the request's; needed where requests to several models have the id.
            signal: what is judged, such as `thumbs`; judgements of one signal are compared with each other.
            score: higher is better, in the signal's own unit.
            label: instead of a score, or beside it.
            source: who judges.

        Raises:
            InvalidRequest: neither a score nor a label, or a word of more than 256 characters.
            TransportError: not acknowledged within `send_s`.
        """
        said = {"signal": signal, "score": score, "label": label, "source": source, "model": model}
        await self._connection.judge(Feedback.of(id=id, tenant=self._tenant, **said))
