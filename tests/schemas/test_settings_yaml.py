"""Settings are YAML 1.2: what YAML 1.1 takes for booleans and dates are texts, and 1e-3 is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.local import ROOT
from schemas.settings import Settings, SettingsError, load_settings
from schemas.settings.yaml_reading import YamlText
from workers.finetune.recipe import load_recipe


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
        *[(text, text) for text in ("yes", "no", "on", "off", "Yes", "NO", "On", "OFF", "y", "n")],
        ("2024-02-30", "2024-02-30"),
        ("2024-02-03", "2024-02-03"),
        ("2024-02-03 04:05:06", "2024-02-03 04:05:06"),
        ("'true'", "true"),
        ("truest", "truest"),
        ("~", None),
        ("null", None),
        ("7", 7),
        ("1_000", 1000),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("-2.5E+2", -250.0),
        ("1e", "1e"),
        ("1e3x", "1e3x"),
        ("'1e-3'", "1e-3"),
    ],
)
def test_a_scalar(written: str, value: object) -> None:
    read = YamlText(f"key: {written}").value["key"]
    assert read == value
    assert type(read) is type(value)


def test_other_readers_of_yaml_are_not_changed() -> None:
    YamlText("key: off")
    assert yaml.safe_load("key: off") == {"key": False}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(condition: str = "equals: medical", serve: str = "", model: str = "") -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(
            f"models: {{no: {{engine: 'package.module:Class', {model}}}}}\n"
            "routing:\n"
            "  default: no\n"
            f"  rules: [{{name: off, model: no, all: [{{field: lang, {condition}}}]}}]\n"
            "audio: {roots: [.]}\n"
            f"serve: {{{serve}}}\n"
        )
        return path

    return write


def test_off_is_a_value_and_no_a_language(write: Callable[..., Path]) -> None:
    settings = load_settings(write("one_of: [no, on, true, 2024-01-01]", "quick_start: off"))
    assert settings.serve.quick_start == "off"
    assert list(settings.models) == ["no"]
    assert settings.routing.rules[0].all[0].one_of == ["no", "on", True, "2024-01-01"]


@pytest.mark.parametrize("value", ["yes", "on", "off"])
def test_where_a_boolean_is_asked_for_the_error_says_how_it_is_written(
    write: Callable[..., Path], value: str
) -> None:
    said = ":1: models.no.words: .*write `true` or `false`"
    with pytest.raises(SettingsError, match=said):
        load_settings(write(model=f"words: {value}"))


SHIPPED = [
    pytest.param(block, id=f"{path.name}-{number}")
    for path in (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(
        re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize("block", SHIPPED)
def test_examples_in_the_documents_are_settings_or_recipes(block: str, tmp_path: Path) -> None:
    if block.startswith("base:"):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(block, encoding="utf-8")
        load_recipe(recipe)
        return
    sections: dict[str, Any] = YamlText(block.replace("5f0c...", "f" * 64)).value
    fields = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for section, value in sections.items():
        msgspec.convert(value, fields[section], strict=True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a:\n  x: 1\n  x: 1\n", 3),
        ("- {a: 1}\n- {a: 1, a: 2}\n", 2),
    ],
)
def test_a_key_that_stands_twice_is_an_error(text: str, line: int) -> None:
    with pytest.raises(yaml.MarkedYAMLError, match=r"the key `\w` is on line \d already") as caught:
        YamlText(text)
    assert caught.value.problem_mark is not None
    assert caught.value.problem_mark.line + 1 == line


def test_a_mapping_may_be_merged_into_another() -> None:
    assert YamlText("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n").value["b"] == {"x": 3, "y": 2}
