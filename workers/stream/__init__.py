"""The stream worker: manifests from Kafka through the Router and back to Kafka, exactly once.

Three threads, each with one owner of everything it touches:

- the *poll thread* (`poll_loop`) owns the consumer and the offsets. It never waits for a model or a
  transaction, so it polls several times a second whatever happens;
- the *dispatch thread* (`dispatcher`) runs an asyncio loop that calls the Router, and retries;
- the *publish thread* (`publisher`) owns the producer and runs one transaction at a time.

Start reading at `worker.StreamWorker`, then `poll_loop` and `commit_cycle`. The decisions live in
pure modules without Kafka or threads: `offset_tracker` (what may be committed), `backpressure`,
`list_builder`, `call_result`, `backoff`, `circuit_breaker`, `dead_letter_limit`, `metrics_events`.
"""
