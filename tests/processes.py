"""Looking at processes that may end at any moment."""

import psutil


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; nothing for one that has ended, waited for or not (a zombie)."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
