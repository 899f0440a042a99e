"""The Kafka clients: their settings, topics, a reader, and replay of dead letters."""
