"""The rows of one INSERT on their way to the engine: a file without a name.

It is gone with its descriptor, so that nothing is left of a process that is killed, and its path has nothing to quote:
it is the descriptor's number. Every method blocks.
"""

import errno
import tempfile
from pathlib import Path

from sinks.clickhouse.http.errors import StatementError

CANNOT_WRITE_TO_FILE_DESCRIPTOR = 75
NOT_ENOUGH_SPACE = 243


class Spool:
    """Bytes that the engine reads back by `path`, in this process only.

    Args:
        folder: on the disk that takes the bytes; nothing appears in it.

    Raises:
        StatementError: the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # `close` is the owner's
        except OSError as error:
            raise self._failed(error) from error

    @property
    def path(self) -> str:
        """Names the file until `close`, and another one soon after: never close it while the engine reads."""
        return f"/dev/fd/{self._file.fileno()}"

    def append(self, piece: bytes) -> None:
        """Write more bytes.

        Raises:
            StatementError: the disk does not take them.
        """
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Give the file up. Idempotent."""
        self._file.close()

    def _failed(self, error: OSError) -> StatementError:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return StatementError(
            f"Cannot keep the rows of the INSERT in {self._folder}: {error.strerror}; nothing was inserted",
            engine_code=NOT_ENOUGH_SPACE if is_full else CANNOT_WRITE_TO_FILE_DESCRIPTOR,
            name="NOT_ENOUGH_SPACE" if is_full else "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
        )
