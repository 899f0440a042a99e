"""Exit codes of `chorus`, for scripts and supervisors."""

from __future__ import annotations

OK = 0
#: Something broke that no other code names.
FAILURE = 1
#: The command line or the settings file is wrong; starting again will not help.
SETTINGS = 2
#: The command finished, and some records have no transcript.
PARTIAL = 3
#: Kafka, Ray or the application cannot be reached; starting again later may help.
UNREACHABLE = 4
#: The stream worker stopped because too many records would have been dead-lettered.
DEAD_LETTER_LIMIT = 5
#: The stream worker was fenced or a call of the Kafka client hung; start it again.
RESTART = 6
#: A model did not show what the settings ask of it.
NOT_PASSED = 7
#: Ctrl-C (128 + SIGINT).
INTERRUPTED = 130
