"""Quality over time: what transcripts say of the models that wrote them, and of their audio."""
