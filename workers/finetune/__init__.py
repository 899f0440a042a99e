"""Fine-tuning a NeMo model for a domain: `job.finetune` is the door, `chorus finetune` its face.

`plan` says what to train on what, `speech` reads and checks manifests, `vocabulary` knows what a
model can write, `batches` makes an endless stream of batches, `budget` ends it, `fit` trains with
`callbacks` beside it, `scoring` measures, `models` makes, opens and stores models, `card` and
`versions` keep what came out; `job` puts them together.
"""
