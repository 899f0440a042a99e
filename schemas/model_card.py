"""A model's card: what it was made from, how, and how well it does."""

from __future__ import annotations

import msgspec


class DataFacts(msgspec.Struct, kw_only=True):
    """Manifests that a model learned from or was measured on.

    Attributes:
        manifests: SHA-256 of each file, by its name without the folder.
        utterances, hours: how much of them was used.
        share: of the utterances of a pass; None for what was only measured.
    """

    manifests: dict[str, str]
    utterances: int
    hours: float
    share: float | None = None


class Wer(msgspec.Struct, kw_only=True):
    """Word error rate in percent, pooled, on a manifest that was not learned from.

    Attributes:
        before: of the base model; None where there was none, or it writes other characters.
        after: of this model, as stored.
        normaliser: of both texts, see `serve_app.wer`.
    """

    data: DataFacts
    before: float | None
    after: float | None
    normaliser: str


class ModelCard(msgspec.Struct, kw_only=True):
    """What `model.nemo` beside it is.

    Attributes:
        name, version: as in the folder ``NAME/VERSION``.
        domain: what the model is for.
        made: UTC, ISO 8601.
        model_class: of NeMo.
        parameters: how many weights it has.
        base: name of the file that training started from, or of the configuration.
        base_sha256: digest of that file.
        training: the data; the shares add up to 1.
        validation: WER on the data that training was watched on: optimistic.
        tests: WER on data that had no influence at all.
        hyperparameters: as given to the training.
        steps, seconds: optimizer steps done, and seconds that they took.
        stopped: "budget" or "early": no better WER for as long as was asked for.
        chosen_step: the weights are those after this step, the best on the validation data.
        versions: of the libraries.
        bytes, sha256: of ``model.nemo``.
    """

    name: str
    version: str
    domain: str
    made: str
    model_class: str
    parameters: int
    base: str
    base_sha256: str
    training: list[DataFacts]
    validation: Wer
    tests: list[Wer] = []
    hyperparameters: dict[str, float | int | str | bool | None]
    steps: int
    seconds: float
    stopped: str
    chosen_step: int
    versions: dict[str, str]
    bytes: int
    sha256: str
