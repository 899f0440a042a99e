"""The HTTP API: the transcription endpoint that OpenAI's clients speak, and manifests.

`api` puts the routes together, `deployment` puts them on Serve. A request passes `gate` (keys and
limits), `forms` (its body, bounded while it arrives), `transcriptions` (what is asked for),
`speech` (through the Router, piece by piece) and `render` (the answer's format).
"""
