"""One replica of one model: its queue, its batches, and the client that calls it."""
