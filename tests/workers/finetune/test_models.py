"""Models that are trained: where they come from, and what goes with them when they are saved."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.demo import MODELS
from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.archive import open_archive
from tests.scenarios.hostile_archives import multitask
from tests.serve_app.engines.nemo.archives import plain_tar, read_members
from tests.serve_app.engines.nemo.tiny_models import CORPUS
from workers.finetune.models import fresh_model, open_model, save_model
from workers.finetune.recipe import SMALL

pytestmark = [pytest.mark.nemo, pytest.mark.slow]

UNPICKLE = (
    "nemo.collections.asr.parts.preprocessing.feature_loader."
    "ExternalFeatureLoader.load_feature_from_file"
)


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., Any]:
    """A new model of a small configuration with changes; `more` is text after it."""

    def make(more: str = "", **changes: Any) -> Any:
        config = yaml.safe_load(SMALL.read_text())
        config["encoder"] |= {"n_layers": 1, "d_model": 32}
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config | changes) + more)
        return fresh_model(file, CORPUS, 60, tmp_path / "tokenizer")

    return make


def test_a_fresh_model_may_refer_to_its_own_keys(fresh: Callable[..., Any]) -> None:
    config = yaml.safe_load(SMALL.read_text())
    encoder = config["encoder"] | {
        "n_layers": 1,
        "d_model": "${model_defaults.enc_hidden}",
        "feat_in": "${preprocessor.features}",
    }
    model = fresh(encoder=encoder, model_defaults={"enc_hidden": 24})
    assert (model.cfg.encoder.d_model, model.cfg.encoder.feat_in) == (24, 64)


def test_a_fresh_model_does_not_open_the_data_of_its_configuration(
    fresh: Callable[..., Any],
) -> None:
    model = fresh(train_ds={"manifest_filepath": "/gone.jsonl", "sample_rate": 16_000})
    assert "train_ds" not in model.cfg


@pytest.mark.parametrize(
    ("changes", "more", "reason"),
    [
        ({"postprocessor": {"_target_": UNPICKLE}}, "", "nothing is instantiated there"),
        ({"preprocessor": {"_target_": UNPICKLE}}, "", "not allowed there"),
        ({"use_cer": "${oc.env:HOME}"}, "", "contains an interpolation"),
        ({"use_cer": "${${x}:HOME}", "x": "oc.env"}, "", "contains an interpolation"),
        ({"target": "nemo.collections.asr.models.EncDecCTCModel"}, "", "a new model is of"),
        ({"use_cer": "${gone}"}, "", "'\\${gone}' does not refer to a value"),
        ({"use_cer": "${encoder}"}, "", "does not refer to a value"),
        ({"use_cer": "${use_cer}"}, "", "does not refer to a value"),
        ({}, "a: [1", r"config\.yaml: is not plain YAML"),
        ({}, "a: &x [*x]", r"config\.yaml: contains YAML aliases"),
        ({}, "a: !!python/object/apply:os.getcwd []", r"config\.yaml: contains a YAML tag"),
        ({"encoder": {"_target_": "nemo.collections.asr.modules.RNNEncoder"}}, "", "cannot build"),
    ],
)
def test_a_configuration_that_is_more_than_one_is_refused(
    fresh: Callable[..., Any], changes: dict[str, Any], more: str, reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        fresh(more, **changes)


def test_only_what_the_model_is_made_of_is_saved(tmp_path: Path) -> None:
    secret = b"the secret of a machine"
    base, saved = tmp_path / "base.nemo", tmp_path / "saved.nemo"
    members = {
        name: secret if name.endswith((".txt", ".vocab")) else data
        for name, data in read_members(MODELS / "general.nemo").items()
    }
    base.write_bytes(plain_tar({**members, "./notes": secret}))
    save_model(open_model(base), saved)
    found = read_members(saved)
    assert not [name for name, data in found.items() if secret in data]
    assert sorted(name.rpartition("_")[2] for name in found) == [
        "config.yaml",
        "tokenizer.model",
        "tokenizer.vocab",
        "vocab.txt",
        "weights.ckpt",
    ]
    with open_archive(saved) as again, open_archive(MODELS / "general.nemo") as first:
        same = {"tokenizer", "nemo_version"}
        changed = {key for key in first.config if first.config[key] != again.config[key]}
        assert changed <= same


def test_a_model_that_is_told_the_language_is_not_trained(tmp_path: Path) -> None:
    path = tmp_path / "canary.nemo"
    path.write_bytes(plain_tar(multitask(read_members(MODELS / "general.nemo"))))
    with pytest.raises(EngineError, match=r"canary\.nemo: .* can be served but not fine-tuned"):
        open_model(path)


def test_the_files_of_an_open_model_are_there_as_long_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = open_model(MODELS / "general.nemo")
    assert len(list(tmp_path.glob("chorus-model-*"))) == 1
    del model
    gc.collect()
    assert not list(tmp_path.iterdir())
