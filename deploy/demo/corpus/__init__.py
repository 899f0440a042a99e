"""Synthetic speech for the demo models: grammars, voices, channels, splits, manifests."""

from pathlib import Path

#: Where the corpus is made unless a command is told otherwise.
CACHE = Path("~/.cache/chorus-asr/corpus").expanduser()
