from __future__ import annotations

import subprocess
import sys

#: Clips that are freed while small blocks, which were made between them, stay. Prints megabytes.
CLIPS = """
import numpy as np
from serve_app.system.memory import return_large_blocks

def held():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 // 2**20

return_large_blocks()
clip = np.ones(1_000_000, np.float32)
del clip  # from now on glibc's threshold would be larger
before, kept, clips = held(), [], []
for _ in range(50):
    clips.append(np.ones(960_000, np.float32))
    kept.append(bytearray(100_000))
clips.clear()
print(held() - before)
"""


def test_clips_that_are_freed_go_back_to_the_system() -> None:
    command = [sys.executable, "-c", CLIPS]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) < 20  # of 190
