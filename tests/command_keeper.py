"""The keeper of a command of `tests.commands`: a script that the fork server runs in a fork.

It forks the command itself, and tells its number and then its exit code over standard input, which
is a socket.
"""

from __future__ import annotations

import atexit
import os
import runpy
import signal
import socket
import sys
import threading
import traceback


def keep(module: str) -> None:
    """Fork the command and tell how it goes, to standard input. Does not return."""
    with socket.socket(fileno=os.dup(0)) as owner:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        pid = os.fork()
        if pid == 0:
            owner.close()
            os.setsid()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # as a shell starts it
            os._exit(_run(module))
        owner.send(str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        owner.send(str(code).encode())
    os._exit(0)


def _run(module: str) -> int:
    """Run `module` as ``python -m`` does, to the end of its threads and exit handlers."""
    sys.path[0] = os.getcwd()
    if "OMP_NUM_THREADS" in os.environ:  # read by torch when it was imported, before the fork
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as Python itself does at its end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    del sys.argv[0]
    keep(sys.argv[0])
