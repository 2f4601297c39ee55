"""What clients' statements may take of the machine, as the engine enforces it: settings, constraints and a workload.

A statement has a limit of memory and of time. Who may write may set others; who may only read may lower them, and is
answered as a server answers that has such constraints.

All statements of clients together have one more limit, which none of them can set: they run in the workload `clients`,
and where that is full, the engine ends the one that takes most. It looks a moment after memory was taken, so there is a
last limit, on all that the engine takes: who wants more fails at once. Between the two lies the owner's share, which
is in no workload: its inserts and merges find memory whatever clients ask for, but for the moments in which these are
ahead of the engine.

Source: ClickHouse's constraints on settings (`SETTING_CONSTRAINT_VIOLATION`), workloads with `MEMORY RESERVATION`,
`max_server_memory_usage`.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

CONFIG_FILE: Final = "engine.xml"
"""In the engine's folder, written anew by whoever serves it."""
WORKLOAD: Final = "clients"
CLIENT: Final = "client"
READER: Final = "reader"
OWNER_BYTES: Final = 2 << 30
"""For inserts, merges and caches, where the clients' share is given."""
ENGINE_OF_MACHINE: Final = 0.6
"""Where it is not given. What the engine's allocator holds back for a while after it was freed comes on top."""
CLIENTS_OF_ENGINE: Final = 2 / 3
_LEAST_BYTES: Final = 1
_LEAST_S: Final = 0.001


class Rights(StrEnum):
    """Of a connection."""

    WRITE = "write"
    """Writes, and sets its own limits."""
    READ = "read"
    """Gave up writing for this request, and may set its own limits all the same."""
    VIEW = "view"
    """May only read, within the limits."""

    @property
    def is_readonly(self) -> bool:
        """Whether writes are refused."""
        return self is not Rights.WRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of statements of clients; 0 is no limit."""

    max_memory_usage_bytes: int = 4 << 30
    """Memory of one statement."""
    max_execution_time_s: float = 300.0
    """Run time of one statement, a stream's pauses included."""
    max_total_memory_bytes: int | None = None
    """Memory of all of them together; None for two fifths of the machine's or of the control group's."""

    def settings(self) -> dict[str, str]:
        """Those of one statement, as settings of the engine."""
        return {
            "max_memory_usage": str(self.max_memory_usage_bytes),
            "max_execution_time": f"{self.max_execution_time_s:g}",
        }

    def opening(self, rights: Rights) -> tuple[str, ...]:
        """What a connection runs before its first statement. A constraint is kept to from there on, not by values that
        are there already: so the values come first.
        """
        values = ", ".join(f"{name} = '{value}'" for name, value in self.settings().items())
        profile = READER if rights is Rights.VIEW else CLIENT
        found = (f"SET {values}, workload = '{WORKLOAD}'", f"SET profile = '{profile}'")
        return (*found, "SET readonly = 2") if rights.is_readonly else found

    def workload(self, engine_bytes: int) -> tuple[str, ...]:
        """What bounds all statements of clients together, of an engine that may have so much memory (0: no limit)."""
        total = self.max_total_memory_bytes
        if total is None:
            total = int(engine_bytes * CLIENTS_OF_ENGINE)
        if not total:
            return (f"DROP WORKLOAD IF EXISTS {WORKLOAD}",)
        return (
            "CREATE RESOURCE IF NOT EXISTS memory (MEMORY RESERVATION)",
            f"CREATE OR REPLACE WORKLOAD {WORKLOAD} SETTINGS max_memory = {total}",
        )

    def config(self, folder: Path, *, merge_threads: int) -> str:
        """The engine's configuration: its memory and merges, and its users' profiles with what they may not set."""
        memory = _constraint("max_memory_usage", _LEAST_BYTES, self.max_memory_usage_bytes)
        time = _constraint("max_execution_time", _LEAST_S, self.max_execution_time_s)
        fixed = "<workload><const/></workload><max_untracked_memory><const/></max_untracked_memory>"
        return (
            f"<clickhouse>{self._engine_memory()}{_element('background_pool_size', merge_threads)}"
            f"<user_directories><users_xml><path>{escape(str(folder / CONFIG_FILE))}</path></users_xml>"
            "</user_directories>"
            "<users><default><password></password><profile>default</profile><quota>default</quota>"
            "<networks><ip>::/0</ip></networks></default></users>"
            "<profiles><default/>"
            f"<{CLIENT}><constraints>{fixed}</constraints></{CLIENT}>"
            f"<{READER}><constraints>{fixed}{memory}{time}</constraints></{READER}>"
            "</profiles><quotas><default/></quotas></clickhouse>\n"
        )

    def _engine_memory(self) -> str:
        if self.max_total_memory_bytes is None:
            return _element("max_server_memory_usage_to_ram_ratio", ENGINE_OF_MACHINE)
        if not self.max_total_memory_bytes:
            return ""
        return _element("max_server_memory_usage", self.max_total_memory_bytes + OWNER_BYTES)


def connection_string(path: str) -> str:
    """How the engine of a folder is opened: with its configuration, where it has one."""
    config = Path(path) / CONFIG_FILE
    return f"file:{path}?config-file={quote(str(config))}" if config.exists() else path


def _constraint(name: str, least: float, most: float) -> str:
    return f"<{name}>{_element('min', least)}{_element('max', most)}</{name}>" if most else ""


def _element(name: str, value: float) -> str:
    return f"<{name}>{value:.15g}</{name}>"
