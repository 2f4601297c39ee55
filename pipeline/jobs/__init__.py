"""Files of requests: read, planned so that a run can be gone on with, run with bounded concurrency, written as results.

Reading lines, planning and making result lines are pure; `run` waits for answers that its caller provides.
"""
