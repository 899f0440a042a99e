"""How many replicas models and stream workers need: by what waits in Kafka, and by requests."""
