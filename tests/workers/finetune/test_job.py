"""Fine-tuning with real NeMo on the shipped speech: tiny, killed, by two processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import deploy.demo
from deploy.local import CHORUS, ROOT
from schemas.model_card import ModelCard
from schemas.requests import DEFAULT_REQUEST
from schemas.settings import ModelSettings
from serve_app.engines.nemo.engine import NemoEngine
from serve_app.registry.versions import CARD, MODEL, read_card
from serve_app.system.files import sha256_of
from tests.commands import Command, Commands
from tests.serve_app.engines.nemo import tiny_models
from workers import exit_codes
from workers.finetune.models import open_model
from workers.finetune.recipe import Recipe
from workers.finetune.unfinished import RunError
from workers.manifests.speech import check_manifest, read_audio

pytestmark = [pytest.mark.nemo, pytest.mark.slow, pytest.mark.timeout(600)]


def finetune(recipe: Recipe) -> tuple[ModelCard, Path] | None:
    """Train as the command does; imported here, since Lightning takes seconds."""
    from workers.finetune.job import finetune as train

    return train(recipe)


SPEECH = Path(deploy.demo.__file__).parent / "speech"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SHORT = {"learning_rate": 2e-3, "check_every": 2, "batch_seconds": 16.0}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.train_tokenizer(tmp_path_factory.mktemp("finetune") / "tokenizer")


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.jsonl`, `other.jsonl` and `dev.jsonl`: a few short clips each."""
    folder = tmp_path_factory.mktemp("manifests")
    for name, source in (("train", "general"), ("other", "medical"), ("dev", "legal")):
        lines = [json.loads(line) for line in (SPEECH / f"{source}.jsonl").read_text().splitlines()]
        lines = sorted(lines, key=lambda line: line["duration"])[:12]
        for line in lines:
            line["audio_filepath"] = str(SPEECH / line["audio_filepath"])
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def recipe(base: Path, manifests: Path, output: Path, **changes: Any) -> Recipe:
    given = {"steps": 4} | SHORT | changes
    return Recipe(
        name="ours",
        domain="tests",
        base=base,
        train=[manifests / "train.jsonl"],
        validation=manifests / "dev.jsonl",
        output=output,
        **given,
    )


@pytest.mark.parametrize("kind", ["ctc_char", "ctc_bpe", "hybrid_rnnt"])
def test_each_kind_of_model_learns_and_is_served(
    kind: str, tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build(kind, tokenizer, tmp_path / "base.nemo")
    made = finetune(recipe(base, manifests, tmp_path))
    assert made is not None
    card, folder = made
    assert folder == tmp_path / "ours" / "1"
    files = ["claim.json", CARD, MODEL, "progress.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == files
    assert read_card(folder / CARD) == card
    assert (card.sha256, card.base_sha256) == (sha256_of(folder / MODEL), sha256_of(base))
    rounds = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert [each["step"] for each in rounds] == [2, 4]
    engine = NemoEngine(ModelSettings(path=str(folder / MODEL), threads=1))
    utterances, _ = check_manifest(manifests / "dev.jsonl", 30)
    clips = [read_audio(each) for each in utterances]
    heard = engine.transcribe(clips, [DEFAULT_REQUEST] * len(clips))
    assert len(heard) == 12
    # the next one is another version, and the first stays as it is
    made = finetune(recipe(base, manifests, tmp_path))
    assert made is not None
    assert made[1] == tmp_path / "ours" / "2"
    assert sha256_of(folder / MODEL) == card.sha256


def test_a_new_vocabulary_is_learned_from_the_texts(
    tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    for kind in ("ctc_bpe", "ctc_char"):
        base = tiny_models.build(kind, tokenizer, tmp_path / f"{kind}.nemo")
        made = finetune(recipe(base, manifests, tmp_path, new_vocabulary=40))
        assert made is not None
        model = open_model(made[1] / MODEL)
        texts = [
            json.loads(line)["text"]
            for line in (manifests / "train.jsonl").read_text().splitlines()
        ]
        if kind == "ctc_bpe":
            assert model.tokenizer.vocab_size == 40
        else:
            assert sorted(model.decoder.vocabulary) == sorted(set("".join(texts)))


def test_a_model_learns_other_features_and_keeps_them(
    tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build("ctc_bpe", tokenizer, tmp_path / "base.nemo")
    usual = finetune(recipe(base, manifests, tmp_path))
    changes = {"normalize": "all_features", "highfreq": 4000}
    made = finetune(recipe(base, manifests, tmp_path, preprocessor=changes))
    assert usual is not None
    assert made is not None
    card, folder = made
    assert card.hyperparameters["preprocessor.normalize"] == "all_features"
    before = [each[0].validation.before for each in (usual, made) if each[0].validation]
    assert before[0] == before[1], "the base is measured as it is"
    model = open_model(folder / MODEL)
    assert model.cfg.preprocessor.normalize == model.preprocessor.featurizer.normalize
    assert model.preprocessor.featurizer.normalize == "all_features"
    mel = model.preprocessor.featurizer.fb[0]
    assert mel[:, mel.shape[1] // 2 + 1 :].max() == 0, "nothing above 4 kHz is heard"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalize": "nothing"}, "normalize=nothing is none of per_feature"),
        ({"loudness": 3}, "unexpected keyword argument 'loudness'"),
        ({"features": 40}, "features must stay"),
    ],
)
def test_features_that_cannot_be_are_refused_before_anything_is_claimed(
    changes: dict[str, Any], reason: str, tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build("ctc_bpe", tokenizer, tmp_path / "base.nemo")
    with pytest.raises(ValueError, match=reason):
        finetune(recipe(base, manifests, tmp_path, preprocessor=changes))
    assert not (tmp_path / "ours").exists()


def test_patience_ends_a_training_and_the_best_weights_are_kept(
    tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build("ctc_char", tokenizer, tmp_path / "base.nemo")
    hopeless = {"learning_rate": 1e-9, "check_every": 1, "patience": 3}
    made = finetune(recipe(base, manifests, tmp_path, steps=50, **hopeless))
    assert made is not None
    card = made[0]
    assert card.stopped == "early"
    assert card.steps < 50
    rounds = [json.loads(line) for line in (made[1] / "progress.jsonl").read_text().splitlines()]
    assert card.validation is not None
    assert card.validation.after == pytest.approx(min(each["wer"] for each in rounds), abs=0.01)


def test_an_unfinished_training_of_something_else_is_not_gone_on_from(
    tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build("ctc_char", tokenizer, tmp_path / "base.nemo")
    unfinished = tmp_path / "ours" / "1.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "run.json").write_text("{}")
    with pytest.raises(RunError, match="other data or settings"):
        finetune(recipe(base, manifests, tmp_path))


def test_a_tdt_model_is_refused_without_a_gpu(
    tokenizer: Path, manifests: Path, tmp_path: Path
) -> None:
    base = tiny_models.build("tdt", tokenizer, tmp_path / "base.nemo")
    with pytest.raises(ValueError, match="on a GPU only"):
        finetune(recipe(base, manifests, tmp_path, accelerator="cpu"))


def command(manifests: Path, base: str, output: Path, *options: str) -> list[str]:
    return [
        *("finetune", base),
        *("--train", str(manifests / "train.jsonl"), "--mix", f"{manifests / 'other.jsonl'}=0.3"),
        *("--validation", str(manifests / "dev.jsonl"), "--domain", "tests"),
        *("--output", str(output), "--accelerator", "cpu", "--batch-seconds", "16", *options),
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, **ONE_THREAD}
    return subprocess.Popen(
        [*CHORUS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: Command | subprocess.Popen[str]) -> dict[str, Any]:
    """The figures; the exit code says whether so short a training was of use."""
    output, errors = process.communicate(timeout=500)
    assert process.returncode in (exit_codes.OK, exit_codes.NOT_BETTER), errors[-2000:]
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    worse = process.returncode == exit_codes.NOT_BETTER
    assert (figures["better"] is False) is worse
    return figures


def test_a_killed_training_goes_on_to_the_same_model(
    commands: Commands, manifests: Path, tmp_path: Path
) -> None:
    options = (
        "--steps",
        "12",
        "--check-every",
        "3",
        "--new-vocabulary",
        "40",
        "--short-first",
        "2",
    )

    def begin(name: str) -> Command | subprocess.Popen[str]:
        arguments = command(manifests, "small", tmp_path / name, *options)
        return commands.start("workers.cli", *arguments, cwd=tmp_path, environment=ONE_THREAD)

    unbroken, killed = begin("unbroken"), begin("killed")
    folder = tmp_path / "killed" / "tests" / "1.unfinished"
    while not (folder / "last.ckpt").exists():
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert folder.exists(), "it was done before it was killed"
    resumed = finish(begin("killed"))
    whole = finish(unbroken)
    assert resumed["steps"] == whole["steps"] == 12
    assert resumed["wer_after"] == whole["wer_after"]
    weights = [open_model(Path(each["path"])).state_dict() for each in (resumed, whole)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_a_training_that_makes_nothing_better_says_so(
    commands: Commands, manifests: Path, tmp_path: Path, tokenizer: Path
) -> None:
    base = tiny_models.build("ctc_char", tokenizer, tmp_path / "base.nemo")
    options = ("--steps", "2", "--check-every", "1", "--learning-rate", "1e-9")
    arguments = command(manifests, str(base), tmp_path, *options)
    done = commands.run("workers.cli", *arguments, cwd=tmp_path, environment=ONE_THREAD)
    assert done.returncode == exit_codes.NOT_BETTER
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["better"] is False
    assert figures["wer_after"] >= figures["wer_before"]
    assert "tests:1 is not better than base.nemo on dev.jsonl" in done.stderr
    assert f"the base                           WER {figures['wer_before']:6.2f}%" in done.stderr
    assert "ready to serve" not in done.stdout
    assert Path(figures["path"]).exists(), "it is kept, to look at"


def test_the_example_of_the_demo_gets_better_on_speech_that_was_held_out(
    commands: Commands, tmp_path: Path
) -> None:
    recipe = SPEECH.parent / "finetune" / "calls.yaml"
    arguments = ["finetune", "--recipe", str(recipe), "--output", str(tmp_path)]
    done = commands.run("workers.cli", *arguments, cwd=tmp_path, environment=ONE_THREAD)
    assert done.returncode == exit_codes.OK, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["better"] is True
    (test,) = figures["tests"].values()
    assert test["after"] < test["before"]


def test_two_processes_train_together(manifests: Path, tmp_path: Path, tokenizer: Path) -> None:
    base = tiny_models.build("ctc_bpe", tokenizer, tmp_path / "base.nemo")
    options = ("--devices", "2", "--steps", "4", "--check-every", "2")
    figures = finish(start(command(manifests, str(base), tmp_path, *options)))
    assert figures["steps"] == 4
    assert Path(figures["path"]).exists()


def test_a_recipe_with_options_on_top(
    commands: Commands, manifests: Path, tmp_path: Path, tokenizer: Path
) -> None:
    base = tiny_models.build("ctc_bpe", tokenizer, tmp_path / "base.nemo")
    keys = {
        "base": base.name,
        "train": [str(manifests / "train.jsonl")],
        "validation": str(manifests / "dev.jsonl"),
        "domain": "tests",
        "output": "models",
        "minutes": 5,
        "check_every": 2,
        "batch_seconds": 16,
        "accelerator": "cpu",
    }
    (tmp_path / "recipe.json").write_text(json.dumps(keys))
    options = ("--recipe", str(tmp_path / "recipe.json"), "--steps", "2", "--speed", "0.1")
    arguments = ["workers.cli", "finetune", *options]
    figures = finish(commands.start(*arguments, cwd=ROOT, environment=ONE_THREAD))
    assert Path(figures["path"]) == tmp_path / "models" / "tests" / "1" / MODEL
    card = read_card(tmp_path / "models" / "tests" / "1" / CARD)
    chosen = {"steps": 2, "speed": 0.1, "round_steps": 2, "batch_seconds": 16.0}
    assert card.hyperparameters | chosen == card.hyperparameters
    assert "minutes" not in card.hyperparameters


def test_all_faults_are_listed_before_anything_is_trained(
    commands: Commands, manifests: Path, tmp_path: Path, tokenizer: Path
) -> None:
    base = tiny_models.build("ctc_char", tokenizer, tmp_path / "base.nemo")
    lines = [json.loads(line) for line in (manifests / "train.jsonl").read_text().splitlines()]
    lines[1]["audio_filepath"] = "gone.flac"
    lines[4]["text"] = "It costs 5 €"
    lines[7]["duration"] = 77
    for name in ("other", "dev"):
        (tmp_path / f"{name}.jsonl").write_bytes((manifests / f"{name}.jsonl").read_bytes())
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = command(tmp_path, str(base), tmp_path, "--steps", "4")
    done = commands.run("workers.cli", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("train.jsonl:")]
    assert [line.split(":")[1] for line in told] == ["2", "5", "8"]
    assert "gone.flac: no such file" in told[0]
    assert "does not write '5' 'I' '€'" in told[1]
    assert "says 77 s" in told[2]
    assert not (tmp_path / "tests").exists()
