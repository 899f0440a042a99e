"""What is kept of the configuration of a multitask model; see also `test_archive`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.configuration import safe_config, transformer_size
from serve_app.engines.nemo.tokenizers import tokenizer_files
from tests.serve_app.engines.nemo.test_configuration import UNPICKLE, with_each_mapping
from tests.serve_app.engines.nemo.tiny_multitask import aggregate, multitask_config, unified

MEMBERS = {"tokenizer.model": Path("/x/tokenizer.model")}


def config(**changes: Any) -> dict[str, Any]:
    tokenizer = aggregate(Path("/gone"), [Path("/gone")] * 2)
    return copy.deepcopy(multitask_config(tokenizer, "canary2")) | changes


def test_keeps_what_a_model_is_made_of() -> None:
    given = config(prompt_defaults=[{"role": "user", "slots": {"source_lang": "<|en|>"}}])
    safe = safe_config(given)
    for key in ("transf_encoder", "transf_decoder", "head"):
        arguments = {name: each for name, each in given[key].items() if name != "_target_"}
        assert safe[key].items() >= arguments.items()
    for key in ("prompt_format", "prompt_defaults", "model_defaults", "encoder", "preprocessor"):
        assert safe[key] == given[key]
    assert "label_smoothing" not in safe


def test_replaces_what_only_training_needs() -> None:
    evil = {"_target_": "os.system", "command": "true"}
    safe = safe_config(config(loss=evil, multitask_metrics_cfg=evil, restore_timestamps_model=True))
    assert "os.system" not in str(safe)
    assert safe["loss"]["_target_"].endswith(".SmoothedCrossEntropyLoss")
    assert list(safe["multitask_metrics_cfg"]["metrics"]) == ["wer"]
    assert safe["restore_timestamps_model"] is False


@pytest.mark.parametrize(
    ("given", "most"),
    [
        ({"strategy": "beam", "beam": {"beam_size": 4, "max_generation_delta": 30}}, 30),
        ({"beam": {"max_generation_delta": -1}, "greedy": {"max_generation_delta": 7}}, 50),
        ({"strategy": "greedy", "greedy": {"max_generation_delta": 7}}, 7),
        ({"strategy": "greedy", "greedy": {"ngram_lm_model": "/etc/passwd"}}, 50),
        (None, 50),
    ],
)
def test_reduces_decoding_to_a_greedy_search(given: Any, most: int) -> None:
    greedy = {"temperature": None, "n_samples": 1, "max_generation_delta": most}
    found = safe_config(config(decoding=given))["decoding"]
    assert found == {"strategy": "greedy_batch", "greedy": greedy}


def test_refuses_a_call_at_any_place_that_it_keeps() -> None:
    given = config(prompt_defaults=[{"role": "user", "slots": {"source_lang": "<|en|>"}}])
    replaced = ("loss", "multitask_metrics_cfg", "tokenizer")
    tried = 0
    for key in ("_target_", "_partial_", "_args_", "cls", "params"):
        for changed, place in with_each_mapping(given, {key: UNPICKLE}):
            if not place.startswith(replaced):
                tried += 1
                with pytest.raises(EngineError):
                    safe_config(changed)
    assert tried > 50


def test_other_models_have_none_of_its_sections() -> None:
    target = "nemo.collections.asr.models.EncDecCTCModel"
    for key in ("transf_decoder", "transf_encoder", "head"):
        with pytest.raises(EngineError, match=f"{key}._target_' is not allowed"):
            safe_config({"target": target, key: config()[key]})
    safe = safe_config({"target": target, "head": {"layers": 1}, "prompt_format": "canary"})
    assert not safe.keys() & {"head", "prompt_format"}


def test_knows_the_size_of_its_transformers() -> None:
    hidden, inner, positions = 64, 128, 256
    layer = 8 * hidden**2 + 2 * hidden * inner
    given = config()
    assert transformer_size(safe_config(given)) == layer + positions * hidden
    given["transf_encoder"]["num_layers"] = 3
    encoder = 3 * (4 * 32**2 + 2 * 32 * 64)
    assert transformer_size(safe_config(given)) == layer + positions * hidden + encoder
    given["transf_decoder"]["config_dict"]["inner_size"] = "many"
    with pytest.raises(EngineError, match=r"config_dict\.inner_size is 'many', not a size"):
        transformer_size(safe_config(given))


class TestTokenizer:
    def test_of_languages_has_the_class_that_joins_them(self) -> None:
        found = tokenizer_files(config(), MEMBERS)
        assert found["custom_tokenizer"]["_target_"].endswith(".CanaryTokenizer")
        assert list(found["langs"]) == ["spl_tokens", "en", "de"]

    def test_of_all_languages_has_its_own(self) -> None:
        found = tokenizer_files(config(tokenizer=unified(Path("/gone"))), MEMBERS)
        assert found["custom_tokenizer"]["_target_"].endswith(".CanaryBPETokenizer")

    @pytest.mark.parametrize(
        "custom",
        [
            "x",
            {},
            {"_target_": None},
            {"_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryBPETokenizer"},
            {"_target_": "nemo.collections.common.tokenizers.AutoTokenizer"},
        ],
    )
    def test_of_another_class_is_refused(self, custom: Any) -> None:
        given = config()
        given["tokenizer"]["custom_tokenizer"] = custom
        with pytest.raises(EngineError, match=r"tokenizer\.custom_tokenizer"):
            tokenizer_files(given, MEMBERS)

    def test_with_arguments_is_refused(self) -> None:
        given = config()
        given["tokenizer"]["custom_tokenizer"]["tokenizers"] = {"_target_": UNPICKLE}
        with pytest.raises(EngineError, match="without arguments"):
            tokenizer_files(given, MEMBERS)
