"""Numbers of one process for Prometheus, made of what it knows anyway: its trace rows, its queues, its engine."""
