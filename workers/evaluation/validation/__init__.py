"""Whether a model is good enough for production, and what to do if it is not."""
