"""The HTTP API: the transcription endpoint that OpenAI's clients speak, and manifests.

`api` is the ASGI application, `deployment` runs it on Ray Serve. A request passes `gate` (API keys
and limits), `bodies` and `forms` (reading the body within limits), `parameters` (checking what is
asked for), `upload` (transcribing the file piece by piece), `coalescing` (one call of the Router
for several requests) and `render` (the format of the response). `proxy` is a middleware in Serve's
own proxy, in front of all this.

The framework is Litestar: its request and response bodies are the msgspec Structs of `schemas`, and
the OpenAPI document is made from them. FastAPI would need a second set of types in Pydantic.
"""
