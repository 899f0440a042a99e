"""One utterance: what was heard by each model, why it was chosen, and its audio.

`network` aligns the members of an ensemble with the text that was chosen, `view` gathers what the
page shows of a transcript, `page` has the handlers for one from the stream.
"""
