"""Exit codes of `chorus`, for scripts and supervisors, and what they say of a stream worker."""

from __future__ import annotations

OK = 0
#: A failure that no other code describes.
FAILURE = 1
#: The command line, the settings or an input file is wrong; starting again will not help.
SETTINGS = 2
#: The command finished, and some records have no transcript, or are left out of what it shows.
PARTIAL = 3
#: Kafka, Ray or the application cannot be reached; starting again later may help.
UNREACHABLE = 4
#: The stream worker stopped because too many records would have been dead-lettered.
DEAD_LETTER_LIMIT = 5
#: The stream worker was fenced, or a call of the Kafka client hung; start it again.
RESTART = 6
#: `chorus validate`: the model does not meet a threshold of the settings. `chorus engine check`:
#: the engine is not what the protocol says.
NOT_PASSED = 7
#: The log of the manifest topic is not the one that offsets were committed for; decide with
#: `chorus offsets` where to go on.
LOG_CHANGED = 8
#: `chorus finetune`: the new version is not better than its base on the validation data.
NOT_BETTER = 9
#: `chorus quality`: a model does worse, or its audio has changed.
DRIFT = 10
#: Ctrl-C (128 + SIGINT).
INTERRUPTED = 130
#: SIGTERM to a command that does not run until it is stopped (128 + SIGTERM).
TERMINATED = 143

_OF_A_WORKER = {
    SETTINGS: "the settings, the topics or the access rights are wrong",
    UNREACHABLE: "Kafka cannot be reached",
    DEAD_LETTER_LIMIT: "too many records would have been dead-lettered",
    RESTART: "another worker has its name, or a call of the Kafka client hung",
    LOG_CHANGED: "the log of the manifest topic has changed; see `chorus offsets`",
}


def worker_fault(code: int) -> str:
    """Why a stream worker ended with an exit code other than `OK`, for people."""
    return _OF_A_WORKER.get(code, "it failed")
