"""A recorder as a process of its own, on topics of its own: `recorder_child TRACE FEEDBACK DLQ section.key=value …`.

The product's recorder reads the one trace topic of its cluster; tests share a broker.
"""

import sys

from pipeline.recorder.main import main
from pipeline.runtime.process import run
from pipeline.settings import load

if __name__ == "__main__":
    trace, feedback, dead_letters, *flags = sys.argv[1:]
    settings = load(environ={}, flags=flags)
    topics = {"trace_topic": trace, "feedback_topic": feedback, "dead_letters": dead_letters}
    sys.exit(run(lambda stop: main(settings, stop, **topics)))
