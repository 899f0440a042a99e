"""One line in the log for each act: who did what to what, and how it went.

Never speech, a path or a key: what is acted on is named by its place in a topic, or by a version.
"""

from __future__ import annotations

import json
import logging

from workers.console.access import User

logger = logging.getLogger("chorus.console.audit")


def audit(user: User, act: str, target: str, *, why: str = "", outcome: str = "done") -> None:
    """Write the line of an act.

    Args:
        user: who acts.
        act: what is done, as a verb: "sign in", "promote", "replay".
        target: what it is done to.
        why: the reason that was given.
        outcome: "done", or why not.
    """
    line = {"user": user.name, "act": act, "target": target, "why": why, "outcome": outcome}
    logger.info("audit %s", json.dumps({key: value for key, value in line.items() if value}))
