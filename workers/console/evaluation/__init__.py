"""Reports of `chorus compare`, `validate` and `benchmark`, in one place.

`reports` lists and reads the files of a folder, `named` finds the utterances that a report names,
`page` has the handlers. A report is shown as it is, in a frame that may do nothing.
"""
