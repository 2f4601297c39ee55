"""The development stack: the real Kafka, the real engine and a real model, as child processes of one Python program.

Import the module you need; this package imports nothing by itself, because the engine's environment loads it too.
"""
