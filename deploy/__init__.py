"""Ways to run Chorus: Kafka by Docker Compose, a whole stack on one machine, the demo."""
