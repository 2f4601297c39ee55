"""What every process of Millrace stands on: Kafka clients, broadcast readers, trace delivery, topics, signals, logs."""
