"""How the demo's speech and models are made and measured, and experiments on human speech."""

from pathlib import Path

#: Default folder for the corpus, training runs and other large files.
CACHE = Path("~/.cache/chorus-asr").expanduser()
