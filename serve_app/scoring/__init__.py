"""Word and character error rate."""
