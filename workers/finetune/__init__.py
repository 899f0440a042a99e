"""Fine-tuning of NeMo models for a domain, by `job.finetune` or the command `chorus finetune`.

`recipe` defines all options, `plan` reads and checks the manifests of a recipe, `vocabulary` finds
what a model can write, `batches` makes an endless stream of batches with `augmentation`, `budget`
limits it, `fit` trains with `callbacks` and with `checkpoints` to resume from, `scoring` computes
the WER, `models` creates, opens and stores models, and `card` and `record` document the training;
`job` combines them.
"""
