"""Synthetic speech for the demo models: grammars, voices, channels, splits, manifests."""

from deploy.demo import CACHE

#: Where the corpus is made unless a command is told otherwise.
CORPUS = CACHE / "corpus"
