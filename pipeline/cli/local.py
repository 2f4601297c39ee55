"""What `up`, `env` and `down` share: which local cluster is meant, and where it lives."""

import argparse
import os
from pathlib import Path
from typing import Final

from infra.devstack.home import millrace_home
from topics import names
from topics.errors import SettingsError

DEFAULT_NAME: Final = "default"


def add_name(parser: argparse.ArgumentParser) -> None:
    """`--name`: several clusters can run side by side."""
    default = os.environ.get("MILLRACE_CLUSTER", DEFAULT_NAME)
    parser.add_argument(
        "--name", metavar="NAME", default=default, help="which local cluster; default: $MILLRACE_CLUSTER, else default"
    )


def folder_of(args: argparse.Namespace) -> Path:
    """Folder of the cluster: data, logs and its state.

    Raises:
        SettingsError: its name would not make a folder.
    """
    if not names.is_name(args.name):
        raise SettingsError(f"--name {args.name!r} is no name: use lower-case letters, digits and single hyphens")
    return millrace_home() / "clusters" / str(args.name)
