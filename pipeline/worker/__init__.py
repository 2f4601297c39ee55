"""The worker: owns slots, runs their dispatches on an engine, publishes the answers and acknowledges what has ended."""
