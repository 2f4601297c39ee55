"""`python -m pipeline.worker` is `millrace worker`, for the engine's environment. Needs no terminal library."""

import sys

from pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["worker", *sys.argv[1:]]))
