"""One line at a time on stderr, for steps that make a person wait (downloads, builds, unpacking)."""

import sys
from pathlib import Path


def say(message: str) -> None:
    """Tell the person in front of the terminal what is going on; stdout stays free for data."""
    sys.stderr.write(f"millrace: {message}\n")
    sys.stderr.flush()


def megabytes(path: Path) -> int:
    """Size of a file, or of all files below a folder, in whole MB (1e6 bytes)."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return round(sum(p.stat().st_size for p in files) / 1e6)
