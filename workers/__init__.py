"""What runs beside Kafka and the shell: the stream worker, the broker, the command line."""
