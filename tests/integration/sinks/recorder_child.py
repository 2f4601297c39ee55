"""A recorder as a process of its own, on topics of its own: `recorder_child TRACE_TOPIC DLQ_TOPIC section.key=value …`.

The product's recorder reads the one trace topic of its cluster; tests share a broker.
"""

import sys

from pipeline.recorder.main import main
from pipeline.runtime.process import run
from pipeline.settings import load

if __name__ == "__main__":
    trace_topic, dead_letters, *flags = sys.argv[1:]
    settings = load(environ={}, flags=flags)
    sys.exit(run(lambda stop: main(settings, stop, trace_topic=trace_topic, dead_letters=dead_letters)))
