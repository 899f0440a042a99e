"""Synthetic speech for the demo models: grammars, voices, channels, splits, manifests."""

from research import CACHE

#: Default folder of the corpus.
CORPUS = CACHE / "corpus"
