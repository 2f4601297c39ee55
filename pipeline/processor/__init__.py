"""The processor process: wires the schedulers and Faust apps of its models to the broker."""
