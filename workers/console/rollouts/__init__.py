"""Rollouts: how a candidate does against what serves, and what a person does about it.

`sequence` takes stored evidence apart block by block, `chart` draws it, `differing` finds the
utterances behind the blocks that differ most, `page` has the handlers.
"""
