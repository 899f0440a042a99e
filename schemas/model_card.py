"""A model's card: what it was made from, how, and how well it does."""

from __future__ import annotations

import msgspec

#: The file of a version's folder that holds its model.
MODEL_FILE = "model.nemo"
#: The file of a version's folder that holds its card; a version is there when this file is.
CARD_FILE = "model.json"


class FileFacts(msgspec.Struct, frozen=True):
    """A file of a version.

    Attributes:
        bytes: its size.
        sha256: its SHA-256 digest, lower-case hexadecimal.
    """

    bytes: int
    sha256: str


class DataFacts(msgspec.Struct, kw_only=True):
    """Manifests that a model learned from or was measured on.

    Attributes:
        manifests: SHA-256 of each file, by its name without the folder.
        utterances: how many utterances of them were used.
        hours: how many hours of them were used.
        share: share of the utterances of a training pass; None for what was only measured.
    """

    manifests: dict[str, str]
    utterances: int
    hours: float
    share: float | None = None


class Wer(msgspec.Struct, kw_only=True):
    """Word error rate in percent, pooled, on a manifest that was not learned from.

    Attributes:
        data: the manifest.
        before: WER of the base model; None where there was none, or it writes other characters.
        after: WER of this model, as stored.
        normaliser: how both texts were normalised, see `serve_app.scoring.wer`.
    """

    data: DataFacts
    before: float | None
    after: float | None
    normaliser: str

    @property
    def better(self) -> bool | None:
        """Whether this model errs less than its base; None where they cannot be compared."""
        if self.before is None or self.after is None:
            return None
        return self.after < self.before


class ImportFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What another registry said of a version when it was imported.

    Attributes:
        server: the registry, without secrets.
        run: ID of the run there that made it.
        aliases: names that it had there at that moment.
        tags: of the version there.
        metrics: last values of the run's metrics, by name, as they are called there.
    """

    server: str
    run: str | None = None
    aliases: list[str] = []
    tags: dict[str, str] = {}
    metrics: dict[str, float] = {}


class ModelCard(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The card of one version of a model: what the files beside it are.

    What only a training knows is empty for a model that was made elsewhere.

    Attributes:
        name: name of the model, as in the folder ``NAME/VERSION``.
        version: version of the model, as in the folder ``NAME/VERSION``.
        domain: what the model is for.
        made: when it was made, UTC, ISO 8601.
        engine: what runs it, as in the settings.
        model_class: its class in NeMo.
        parameters: how many weights it has.
        base: name of the file that training started from, or of the configuration.
        base_sha256: SHA-256 digest of that file.
        parent: the version that training started from, ``NAME:VERSION``, if it is registered.
        training: the data that it learned from; the shares add up to 1.
        validation: WER on the data that training was watched on: optimistic.
        tests: WER on data that had no influence at all.
        hyperparameters: as given to the training.
        steps: optimizer steps done.
        seconds: seconds that they took.
        stopped: "budget" or "early": no better WER for as long as was asked for.
        chosen_step: the weights are those after this step, the best on the validation data.
        versions: versions of the libraries, by name.
        bytes: size of the model in bytes.
        sha256: SHA-256 digest of the model's file; of a model of several files, of their list.
        files: the files of the version, by their path in its folder.
        languages: that it transcribes, as codes such as "en" and "pt-BR".
        licence: under which it may be used, as an SPDX identifier or in words.
        source: where it was imported from; None for a model that was trained here.
        imported: what the registry there said of it, where it came from one.
        registered_by: who registered it.
        registered: when that was, UTC, ISO 8601.
    """

    name: str
    version: str
    domain: str
    made: str
    engine: str = "nemo"
    model_class: str = ""
    parameters: int = 0
    base: str = ""
    base_sha256: str = ""
    parent: str | None = None
    training: list[DataFacts] = []
    validation: Wer | None = None
    tests: list[Wer] = []
    hyperparameters: dict[str, float | int | str | bool | None] = {}
    steps: int = 0
    seconds: float = 0.0
    stopped: str = ""
    chosen_step: int = 0
    versions: dict[str, str] = {}
    bytes: int = 0
    sha256: str = ""
    files: dict[str, FileFacts] = {}
    languages: list[str] = []
    licence: str | None = None
    source: str | None = None
    imported: ImportFacts | None = None
    registered_by: str | None = None
    registered: str | None = None

    @property
    def all_bytes(self) -> int:
        """Size of all files of the version."""
        return sum(each.bytes for each in self.files.values())


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why what an alias names after a move does not serve: the first replica to say so.

    Attributes:
        at: when, UTC, ISO 8601.
        by: the machine.
        why: in words.
    """

    at: str
    by: str
    why: str


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in the history of an alias, which is never changed.

    Attributes:
        version: that the alias names from now on.
        at: when, UTC, ISO 8601.
        by: who moved it.
        why: in words.
        back: whether this takes the last move back, rather than being a new one.
    """

    version: str
    at: str
    by: str
    why: str = ""
    back: bool = False
