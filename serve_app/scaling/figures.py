"""Names of what replicas of models and stream workers tell Serve for the policies."""

#: Seconds of audio that were transcribed in a second of the engine's work.
RTFX = "rtfx"
#: Calls under way that come from streams.
STREAMED = "streamed"
#: Share of its calls of the Router that a stream worker has under way.
BUSY = "busy"
