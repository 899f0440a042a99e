"""Try it: a file or a recording from the browser, transcribed by one or two models or plans.

`router` connects to the Router, as `chorus transcribe` does: unlike the HTTP API it says what each
member of an ensemble heard. `asking` calls it, `trials` keeps what came of it for a while, `page`
has the handlers.
"""
