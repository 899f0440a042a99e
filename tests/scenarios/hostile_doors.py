"""The entry points ("doors") by which a model file comes into Chorus, each with files to try.

    python -m tests.scenarios.hostile_doors DOOR FILES ANSWERS

FILES has the path of one model file on each line; for each, a line of JSON with the exit code and
the output is written to ANSWERS.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from deploy.demo import MODELS, SPEECH
from deploy.local import LocalStack
from schemas.manifest import ManifestRecord
from tests.scenarios.settings import BASE, fault_settings
from tests.scenarios.speech import shipped_records
from workers import exit_codes

#: Tries one file; returns the exit code and the output.
Try = Callable[[Path], tuple[int, str]]

_SOUND = str(MODELS / "legal.nemo")
#: The exit code of a door that is no command, where the file is refused.
REFUSED = 2


@contextmanager
def _engine() -> Iterator[Try]:
    from schemas.settings import ModelSettings
    from serve_app.engines.errors import EngineError
    from serve_app.engines.load import load_engine

    def attempt(model: Path) -> tuple[int, str]:
        try:
            load_engine(ModelSettings(path=str(model), threads=1))
        except EngineError as error:
            return REFUSED, str(error)
        return 0, ""

    yield attempt


@contextmanager
def _nemo() -> Iterator[Try]:
    """NeMo's own way to open a file."""
    from serve_app.engines.nemo.imports import import_nemo

    import_nemo()
    from nemo.collections.asr.models import ASRModel

    def attempt(model: Path) -> tuple[int, str]:
        try:
            ASRModel.restore_from(str(model), map_location="cpu")
        except Exception as error:  # by then the code of the file has run, or not
            return 1, str(error)
        return 0, ""

    yield attempt


@contextmanager
def _serve() -> Iterator[Try]:
    """What `chorus serve` does, for all files on the cluster of one that serves a sound model."""
    from serve_app.cluster import application, readiness

    raw = fault_settings("nemo", replicas=1)
    with LocalStack(raw, BASE) as stack:
        stack.start_serve()
        stack.wait_for_serve()
        settings = stack.settings
        settings.serve.address = stack.address
        settings.serve.app = "hostile"

        def attempt(model: Path) -> tuple[int, str]:
            settings.models["general"].path = str(model)
            try:
                application.stop(application.start(settings))
            except readiness.StartError as error:
                return REFUSED, str(error)
            return 0, ""

        yield attempt
        stack.check_all()


@contextmanager
def _swap() -> Iterator[Try]:
    """What a replica does when its alias is moved to a version; a sound one serves before."""
    from schemas.model_card import ModelCard
    from schemas.settings import ModelSettings, RegistrySettings
    from serve_app.model.swap import Swapper
    from serve_app.registry.local_store import LocalStore
    from serve_app.registry.registry import Registry
    from serve_app.registry.source import VersionSource

    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        registry = Registry(LocalStore(Path(folder)))

        def promote(model: Path) -> str:
            # without the checks of `chorus models register`: somebody else wrote it there
            card = ModelCard(name="", version="", domain="d", made="2026-01-01T00:00:00+00:00")
            version = registry.register("m", {"model.nemo": model}, card).version
            registry.promote("m", version, "production")
            return version

        sound = promote(Path(_SOUND))
        settings = ModelSettings(model="m@production", threads=1)
        swapper = Swapper("m", VersionSource(settings, RegistrySettings(url=folder)))
        runner.run(swapper.start())

        def attempt(model: Path) -> tuple[int, str]:
            version = promote(model)
            runner.run(swapper.look())
            if swapper.current.version.number != sound:
                return 0, ""
            swapper.current.check(60.0)
            return REFUSED, f"{model.name}, as version {version}: {swapper.refused}"

        yield attempt
        swapper.close()


def _command(*arguments: str, refused: int = REFUSED) -> Callable[[], AbstractContextManager[Try]]:
    """The command `chorus ARGUMENTS`.

    MODEL stands for the file, MANIFEST for two utterances, and OUTPUT for what is not there yet.
    The exit code of a refusal is another one where the command's own answer is that nothing works.
    """

    @contextmanager
    def door() -> Iterator[Try]:
        from typer.testing import CliRunner

        from workers.cli import app

        runner = CliRunner()

        def attempt(model: Path) -> tuple[int, str]:
            with tempfile.TemporaryDirectory() as folder:
                manifest = _small_manifest(Path(folder, "two.jsonl"))
                words = {"MODEL": str(model), "MANIFEST": manifest, "OUTPUT": f"{folder}/output"}
                result = runner.invoke(app, [words.get(each, each) for each in arguments])
            said = result.output
            if result.exception and not isinstance(result.exception, SystemExit):
                said += "".join(traceback.format_exception(result.exception))
            return REFUSED if result.exit_code == refused else result.exit_code, said

        yield attempt

    return door


def _small_manifest(path: Path) -> str:
    records = [replace(each, audio_filepath=str(SPEECH / each.audio_filepath)) for each in _two()]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, records)))
    return str(path)


@cache
def _two() -> list[ManifestRecord]:
    return shipped_records()[:2]


DOORS = {
    "engine": _engine,
    "serve": _serve,
    "benchmark": _command("benchmark", "MODEL", "-m", "MANIFEST", "--path", "engine"),
    "compare": _command("compare", "MODEL", _SOUND, "-m", "MANIFEST"),
    "validate": _command("validate", "MODEL", "-m", "MANIFEST"),
    "calibrate": _command("calibrate", "MODEL", _SOUND, "-m", "MANIFEST", "-o", "OUTPUT"),
    "register": _command("models", "register", "evil", "MODEL", "--registry", "OUTPUT"),
    "doctor": _command("doctor", "MODEL", refused=exit_codes.FAILURE),
    "rollout": _command("rollout", "replay", _SOUND, "MODEL", "-m", "MANIFEST"),
    "swap": _swap,
    "finetune": _command(
        *("finetune", "MODEL", "--domain", "evil", "--steps", "1", "--output", "OUTPUT"),
        *("--train", "MANIFEST", "--validation", "MANIFEST"),
    ),
}

#: No door of ours, but NeMo itself.
CONTROL = "nemo"
#: Doors where a trial takes seconds: each loads the file in a process that is started for it.
SLOW = frozenset({"benchmark", "doctor", "register", "serve", "swap"})


def main() -> None:
    door, files, answers = sys.argv[1:]
    doors = {**DOORS, CONTROL: _nemo}
    with open(answers, "w", encoding="utf-8") as file, doors[door]() as attempt:
        for line in Path(files).read_text(encoding="utf-8").splitlines():
            code, said = attempt(Path(line))
            print(json.dumps({"code": code, "said": said}), file=file, flush=True)


if __name__ == "__main__":
    main()
