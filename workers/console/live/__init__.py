"""Transcripts as they are committed, and figures from the metrics topic.

`following` reads a topic in a thread, `rows` is what is kept of a transcript, `filters` which of
them somebody wants, `hub` passes them on to those who have the page open, `figures` adds up metrics
events, and `page` has the handlers.
"""
