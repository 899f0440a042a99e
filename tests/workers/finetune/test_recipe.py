"""Recipes: a file, options in place of what it says, and what is written down of them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from deploy.local import ROOT
from workers.cli import app
from workers.cli import finetune as command
from workers.finetune.recipe import SMALL, Mix, Recipe, RecipeError, check_base, load_recipe
from workers.finetune.record import hyperparameters_of, run_of

COMPLETE = {"base": "base.nemo", "train": ["train.jsonl"], "validation": "dev.jsonl", "steps": 4}
COMPLETE |= {"domain": "medical"}

EXAMPLE = ROOT / "deploy" / "demo" / "finetune" / "calls.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def write(file: Path, **keys: Any) -> Path:
    file.write_text(json.dumps(COMPLETE | keys))
    return file


def options(**keys: Any) -> dict[str, Any]:
    """What the command makes of its options."""
    paths = {"base": Path("base.nemo"), "train": [Path("a"), Path("b")], "validation": Path("dev")}
    return paths | {"domain": "medical"} | keys


def test_a_file(file: Path, tmp_path: Path) -> None:
    file.write_text("""
base: /models/base.nemo
train: [train.jsonl, more/train.jsonl]
validation: dev.jsonl
mix:
  - {manifest: general.jsonl, share: 0.1}
  - {manifest: /noisy.jsonl, share: 0.05, limit: 500}
domain: medical
minutes: 20
learning_rate: 1e-3  # text, to YAML 1.1
warm_up: 5E-2
preprocessor: {normalize: all_features, highfreq: 4000}
speed: 0.15
coloured: true
""")
    recipe = load_recipe(file)
    assert recipe == Recipe(
        base=Path("/models/base.nemo"),
        train=[tmp_path / "train.jsonl", tmp_path / "more" / "train.jsonl"],
        validation=tmp_path / "dev.jsonl",
        mix=[
            Mix(manifest=tmp_path / "general.jsonl", share=0.1),
            Mix(manifest=Path("/noisy.jsonl"), share=0.05, limit=500),
        ],
        domain="medical",
        minutes=20.0,
        learning_rate=1e-3,
        warm_up=0.05,
        preprocessor={"normalize": "all_features", "highfreq": 4000},
        speed=0.15,
        coloured=True,
    )
    assert recipe.name == "medical"
    assert recipe.output == Path("models")


def test_the_examples_in_the_documents(file: Path) -> None:
    page = (ROOT / "docs" / "finetune.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    for text in examples:
        file.write_text(text)
        recipe = load_recipe(file)
        for path in (recipe.base, *recipe.train, recipe.validation, *recipe.test):
            assert (ROOT / path.relative_to(file.parent)).is_file()


def test_the_example_of_the_demo_holds_its_test_speech_out() -> None:
    recipe = load_recipe(EXAMPLE)
    texts = {
        path: [json.loads(line)["text"] for line in path.read_text().splitlines()]
        for path in (*recipe.train, *[each.manifest for each in recipe.mix], recipe.validation)
    }
    (test,) = recipe.test
    held_out = [json.loads(line)["text"] for line in test.read_text().splitlines()]
    assert len(held_out) >= 10
    for path, learned in texts.items():
        for text in held_out:
            assert not any(text in other or other in text for other in learned), path.name


def test_json(tmp_path: Path) -> None:
    keys = COMPLETE | {"base": "small", "output": "out"}
    (tmp_path / "recipe.json").write_text(json.dumps(keys, indent="\t"))
    recipe = load_recipe(tmp_path / "recipe.json")
    assert recipe.base == SMALL
    assert recipe.output == tmp_path / "out"
    assert recipe.steps == 4


def test_options_without_a_file() -> None:
    recipe = load_recipe(None, options(epochs=2.0, base=Path("small"), name="ours"))
    assert recipe.base == SMALL
    assert recipe.train == [Path("a"), Path("b")]
    assert (recipe.epochs, recipe.name, recipe.learning_rate) == (2.0, "ours", 1e-3)


def test_a_pretrained_base_is_no_path(file: Path) -> None:
    recipe = load_recipe(write(file, base="pretrained:org/name"))
    assert str(recipe.base) == "pretrained:org/name"
    check_base(recipe.base)


def test_a_base_that_is_not_there_is_told_before_anything_is_imported() -> None:
    required = ["--train", "a", "--validation", "b", "--domain", "d", "--steps", "1"]
    done = CliRunner().invoke(app, ["finetune", "stt_en_large", *required])
    assert done.exit_code == 2
    assert "base: stt_en_large: no such file; a pretrained model is named" in done.output


def test_options_win(file: Path, tmp_path: Path) -> None:
    write(file, speed=0.2, noise=0.5, name="theirs", mix=[{"manifest": "m", "share": 0.1}])
    mix = [{"manifest": Path("other"), "share": 0.3}]
    recipe = load_recipe(file, {"speed": 0.0, "train": [Path("mine")], "mix": mix})
    assert recipe.speed == 0.0
    assert recipe.noise == 0.5
    assert recipe.train == [Path("mine")]
    assert recipe.validation == tmp_path / "dev.jsonl"
    assert recipe.mix == [Mix(manifest=Path("other"), share=0.3)]
    assert recipe.name == "theirs"


def test_a_budget_replaces_the_budget(file: Path) -> None:
    recipe = load_recipe(write(file), {"minutes": 1.5})
    assert (recipe.steps, recipe.epochs, recipe.minutes) == (None, None, 1.5)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"epoch": 4}, "epoch: no such key; did you mean `epochs`?"),
        (
            {"mix": [{"manifest": "a", "part": 0.1}]},
            "mix[0].part: no such key; there are: manifest",
        ),
        ({"mix": [{"manifest": "a", "share": 1.0}]}, "mix[0].share: Expected `float` < 1.0"),
        ({"steps": "many"}, "steps: Expected `int | null`, got `str`"),
        ({"train": "train.jsonl"}, "train: Expected `array`, got `str`"),
        ({"train": [3]}, "train[0]: Expected a path, got `int`"),
        ({"plain_texts": "yes"}, "plain_texts: Expected `bool`, got `str`"),
        ({"patience": 0}, "patience: Expected `int` >= 1"),
        ({"check_every": 0}, "check_every: Expected `int` >= 1"),
        ({"warm_up": 1.0}, "warm_up: Expected `float` < 1.0"),
        ({"noise": 50}, "noise: Expected `float` <= 1.0"),
        ({"minutes": 3}, "give one of --epochs, --minutes and --steps"),
        ({"steps": None}, "give one of --epochs, --minutes and --steps"),
        ({"name": "A model"}, "a model cannot be called 'A model'"),
        ({"domain": "A domain"}, "a model cannot be called 'A domain'"),
        ({"domain": "rollouts"}, "a model cannot be called 'rollouts'"),
    ],
)
def test_what_is_wrong_is_named(file: Path, keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(file, **keys))
    place = f"{file}:1" if re.match(r"[a-z_\[\]0-9.]+: ", reason) else file
    assert str(caught.value).startswith(f"{place}: {reason}")
    write(file, **keys).rename(file.with_suffix(".json"))
    with pytest.raises(RecipeError) as caught:
        load_recipe(file.with_suffix(".json"))
    assert str(caught.value).startswith(f"{file.with_suffix('.json')}: {reason}")


def test_the_line_of_a_key_is_named_unless_an_option_is_wrong(file: Path) -> None:
    file.write_text("base: base.nemo\nvalidation: dev\ntrain: [a]\ndomain: d\nsteps: 1\nspeed: no")
    with pytest.raises(RecipeError, match=r"recipe.yaml:6: speed: Expected `float`, got `str`"):
        load_recipe(file)
    with pytest.raises(RecipeError, match=r"recipe.yaml: speed: Expected `float`, got `str`"):
        load_recipe(file, {"speed": "fast"})


def test_all_that_is_missing_is_named(file: Path) -> None:
    file.write_text("steps: 3\nvalidation: dev.jsonl")
    with pytest.raises(RecipeError, match=r"^base, train, domain: missing"):
        load_recipe(file)


@pytest.mark.parametrize("text", ["", "[1]", "3: 4", "a: [", "a: !!python/name:os.system", "\0"])
def test_what_is_no_recipe(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(RecipeError, match=r"recipe.yaml: (is no mapping|neither YAML nor JSON)"):
        load_recipe(file)


def test_a_file_that_is_not_there(file: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe.yaml: cannot be read: No such file"):
        load_recipe(file)


# --- the command -----------------------------------------------------------------------------


def test_every_option_of_the_command_is_a_field() -> None:
    given = set(inspect.signature(command.finetune).parameters) - {"recipe", "as_json"}
    fields = {field.name for field in msgspec.structs.fields(Recipe)}
    assert fields - given == {"warm_up", "weight_decay", "gradient_clip", "vocabulary"}
    assert given <= fields


def test_what_the_command_gives(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def load(*given: Any) -> None:
        seen.extend(given)
        raise RecipeError("not today")

    monkeypatch.setattr(command, "load_recipe", load)
    arguments = ["finetune", "base.nemo", "--recipe", str(file), "--speed", "0", "--lr", "1e-4"]
    arguments += ["--train", "a", "--train", "b", "--mix", "c=d=0.25", "--no-plain-texts"]
    arguments += ["--preprocessor", "normalize=all_features", "--preprocessor", "highfreq=4000"]
    done = CliRunner().invoke(app, [*arguments, "-o", "out"])
    assert done.exit_code == 2
    assert "error: not today" in done.output
    assert seen == [
        file,
        {
            "base": Path("base.nemo"),
            "train": [Path("a"), Path("b")],
            "output": Path("out"),
            "mix": [{"manifest": Path("c=d"), "share": 0.25}],
            "learning_rate": 1e-4,
            "preprocessor": {"normalize": "all_features", "highfreq": 4000},
            "plain_texts": False,
            "speed": 0.0,
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "base, train, validation, domain: missing"),
        (["base", "--mix", "a"], "--mix a: give MANIFEST=SHARE with a share between 0 and 1"),
        (["base", "--mix", "a=1"], "--mix a=1: give MANIFEST=SHARE"),
        (["base", "--preprocessor", "a"], "--preprocessor a: give KEY=VALUE"),
    ],
)
def test_options_that_cannot_be(arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(app, ["finetune", *arguments])
    assert done.exit_code == 2
    assert reason in done.output


# --- what is written down --------------------------------------------------------------------


def test_the_card_has_the_keys_that_it_always_had() -> None:
    recipe = load_recipe(
        None,
        options(
            minutes=3.0,
            check_every=20,
            short_first=7,
            new_vocabulary=40,
            speed=0.1,
            preprocessor={"normalize": "all_features"},
        ),
    )
    assert list(hyperparameters_of(recipe).items()) == [
        ("learning_rate", 1e-3),
        ("warm_up", 0.06),
        ("weight_decay", 1e-3),
        ("gradient_clip", 5.0),
        ("batch_seconds", 48.0),
        ("round_steps", 20),
        ("patience", None),
        ("short_steps", 7),
        ("seed", 1),
        ("speed", 0.1),
        ("tempo", 0.0),
        ("rooms", 0.0),
        ("equaliser", 0.0),
        ("silence", 0.2),
        ("noise", 1.0),
        ("lowest_snr", 25.0),
        ("coloured", False),
        ("minutes", 3.0),
        ("pieces", 40),
        ("preprocessor.normalize", "all_features"),
    ]


def test_a_run_is_recognised_by_its_data_and_settings(file: Path, tmp_path: Path) -> None:
    for name in ("base.nemo", "train.jsonl", "dev.jsonl", "mix.jsonl"):
        (tmp_path / name).write_text(name)
    mix = [{"manifest": "mix.jsonl", "share": 0.1}]
    runs = [
        run_of(load_recipe(write(file, **keys)))
        for keys in ({}, {"mix": mix}, {"seed": 2}, {"speed": 0.1}, {"devices": 2}, {"patience": 3})
    ]
    assert all(runs.index(run) == number for number, run in enumerate(runs))
    again = run_of(load_recipe(write(file, output="elsewhere", accelerator="cpu")))
    assert again == runs[0]
    assert json.loads(json.dumps(runs[1])) == runs[1]
    assert set(runs[0]) == {
        *("base", "train", "mix", "validation", "budget", "pieces", "preprocessor"),
        *("vocabulary", "plain_texts", "hyperparameters", "devices"),
    }
    assert "augmentation" in runs[0]["hyperparameters"]


def test_the_base_may_be_the_folder_of_a_version(file: Path, tmp_path: Path) -> None:
    version = tmp_path / "ward" / "1"
    version.mkdir(parents=True)
    (version / "model.nemo").touch()
    assert load_recipe(write(file), {"base": version}).base == version / "model.nemo"
