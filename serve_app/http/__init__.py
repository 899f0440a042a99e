"""The HTTP API: the transcription endpoint that OpenAI's clients speak, and manifests.

`api` puts the routes together, `deployment` puts them on Serve. A request passes `gate` (keys and
limits), `bodies` and `forms` (what arrives, and how much), `transcriptions` (what is asked for),
`gathering` and `speech` (through the Router, piece by piece, together with who else is there) and
`render` (the answer's format). `proxy` runs in Serve's own proxy, before all of it.

The framework is Litestar: it takes and gives the msgspec Structs of `schemas` and makes the OpenAPI
document of them, where FastAPI would want a second set of them in Pydantic.
"""
