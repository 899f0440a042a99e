from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from serve_app.engines.errors import EngineError
from serve_app.engines.nemo.allow_list import (
    ALLOWED_CLASSES,
    HEADS,
    MULTITASK_CLASSES,
    AllowedClass,
)
from serve_app.engines.nemo.configuration import parse_config, safe_config
from serve_app.engines.nemo.imports import nemo_class
from serve_app.engines.nemo.tokenizers import tokenizer_files
from tests.serve_app.engines.nemo.tiny_models import config_of

TARGET = "nemo.collections.asr.models.ctc_models.EncDecCTCModel"
UNPICKLE = "nemo.collections.asr.parts.preprocessing.feature_loader.ExternalFeatureLoader"


def config(kind: str = "ctc_char", **changes: Any) -> dict[str, Any]:
    """The configuration of a tiny model."""
    name, found = config_of(kind, Path("/nowhere"))
    return {**copy.deepcopy(found), "target": f"nemo.collections.asr.models.{name}", **changes}


class TestParse:
    def test_reads_numbers_as_omegaconf_does(self) -> None:
        from omegaconf import OmegaConf

        text = (
            "a: 1e-5\nb: 1.0e-05\nc: -2E+3\nd: .inf\ne: 12\nf: no\ng: 1e5x\nh: '1e-5'\ni:\nj: ~\n"
            "k: [0x1F, 0b11, 017, -0, +5, 1_000, .5, 5., -.inf, 1.5e3]\nl: 2001-01-01\nm: On\n"
            "n: '-'\np: -.5\nq: 12e\nr: 'null'\ns: Null\nt: '='\n"
        )
        assert parse_config(text) == OmegaConf.to_container(OmegaConf.create(text))

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("a: ${oc.env:HOME}", "interpolation .* at 'a'"),
            ('a: {b: ["\\x24{oc.env:HOME}"]}', "interpolation .* at 'a.b'"),
            ("'${x}': 1", "interpolation"),
            ("a: &a [1]\nb: *a", "aliases"),
            ("a: !!python/object/apply:os.system [true]", "contains a YAML tag"),
            ("a: !!int ''", "contains a YAML tag"),
            ("!!map {a: 1}", "contains a YAML tag"),
            ("a: [1", "not plain YAML"),
            ("a: !!binary aGk=", "contains a YAML tag"),
            ("a: {1: 2}", "a key that is not a string"),
            ("1: 2", "a key that is not a string"),
            (f"a: {'[' * 1000}", "nested more than"),
            pytest.param(
                f"a: [{'1,' * 1_100_000}]", "has more than 1000000 values", marks=pytest.mark.slow
            ),
            ("- 1\n- 2", "not a mapping"),
            ("", "not a mapping"),
        ],
    )
    def test_refuses_what_is_no_data(self, text: str, reason: str) -> None:
        with pytest.raises(EngineError, match=reason):
            parse_config(text)

    @pytest.mark.parametrize(
        "text",
        ["a: " + "1:" * 100_000 + "1", "a: " + "9" * 100_000, "a: 1." + "1" * 100_000, "a: 1:30"],
    )
    def test_long_and_old_numbers_are_texts(self, text: str) -> None:
        assert parse_config(text) == {"a": text.removeprefix("a: ")}

    def test_does_not_look_at_what_is_dropped(self) -> None:
        text = "train_ds: {1: '${oc.env:HOME}'}\noptim: [2]\na: 1"
        assert parse_config(text) == {"a": 1}

    def test_keys_are_not_merged(self) -> None:
        assert parse_config("a: {<<: {b: 1}}") == {"a": {"<<": {"b": 1}}}


class TestSafe:
    @pytest.mark.parametrize("kind", ["ctc_conv", "ctc_bpe", "rnnt_char", "tdt", "hybrid_tdt"])
    def test_keeps_what_a_model_is_made_of(self, kind: str) -> None:
        given = config(kind)
        safe = safe_config(given)
        for key in given.keys() - {"validation_ds", "decoding", "aux_ctc", "tokenizer"}:
            assert safe[key] == without(given[key], "vocabulary" if "bpe" in kind else ""), key

    def test_leaves_a_vocabulary_to_the_tokenizer(self) -> None:
        given = config("hybrid_rnnt", labels=["a"])
        given["aux_ctc"]["decoder"]["vocabulary"] = given["joint"]["vocabulary"] = ["a"] * 90_000
        safe = safe_config(given)
        assert "vocabulary" not in str(safe)
        assert "labels" not in safe
        assert safe_config(config("rnnt_char"))["labels"] == config("rnnt_char")["labels"]
        with pytest.raises(EngineError, match="labels has more than"):
            safe_config(config("rnnt_char", labels=["a"] * 90_000))

    def test_takes_no_notice_of_an_argument_that_is_not_given(self) -> None:
        given = config()
        given["preprocessor"] |= {"rng": None, "of_another_version": None}
        assert safe_config(given)["preprocessor"].keys() == config()["preprocessor"].keys()

    def test_says_the_names_of_classes_its_own_way(self) -> None:
        given = config(target=TARGET)
        given["encoder"]["_target_"] = (
            "nemo.collections.asr.modules.conformer_encoder.ConformerEncoder"
        )
        safe = safe_config(given)
        assert safe["target"] == "nemo.collections.asr.models.EncDecCTCModel"
        assert safe["encoder"]["_target_"] == "nemo.collections.asr.modules.ConformerEncoder"

    def test_drops_what_is_for_training_unread(self) -> None:
        evil = {"_target_": "os.system", "command": "true"}
        sections: dict[str, Any] = {
            "train_ds": evil,
            "test_ds": [evil],
            "optim": {"sched": evil},
            "repeat": 5,
        }
        safe = safe_config(config(**sections, validation_ds={"manifest_filepath": evil}))
        assert not safe.keys() & sections.keys()
        assert "os.system" not in str(safe)
        assert safe["validation_ds"]["manifest_filepath"] is None

    def test_reduces_decoding_to_a_greedy_search(self) -> None:
        given = config("tdt")
        given["decoding"] |= {
            "strategy": "beam",
            "greedy": {"max_symbols": 7, "ngram_lm_model": None, "evil": 1},
            "beam": {"beam_size": 4, "kenlm_path": "/data/lm.bin"},
            "lang_tag_pattern": "(a+)+$",
        }
        assert safe_config(given)["decoding"] == {
            "model_type": "tdt",
            "durations": [0, 1, 2, 3, 4],
            "strategy": "greedy_batch",
            "greedy": {"max_symbols": 7},
        }

    @pytest.mark.parametrize("place", ["decoding", "aux_ctc.decoding"])
    @pytest.mark.parametrize(
        "section", [{"ngram_lm_model": "x"}, {"boosting_tree": {"model_path": "/x"}}]
    )
    def test_refuses_files_in_decoding(self, place: str, section: dict[str, Any]) -> None:
        given = config("hybrid_tdt")
        at: dict[str, Any] = given
        for key in place.split("."):
            at = at[key]
        at["greedy"] = section
        with pytest.raises(EngineError, match=f"{place}.greedy.*names a file"):
            safe_config(given)

    def test_refuses_a_call_at_any_place_that_it_keeps_or_does_not_know(self) -> None:
        given = config("hybrid_tdt", loss={}, interctc={"x": {}}, unknown={"x": [{}]})
        given["adapters"] = {"global_cfg": {"meta": {}}, "mine": adapter()}
        tried = 0
        for key in ("_target_", "_partial_", "_args_", "_convert_", "_recursive_", "cls", "params"):
            for changed, place in with_each_mapping(given, {key: UNPICKLE}):
                tried += 1
                if place.partition(".")[0] in ("train_ds", "validation_ds", "tokenizer"):
                    continue
                with pytest.raises(EngineError):
                    safe_config(changed)
        assert tried > 150

    def test_refuses_a_mapping_in_place_of_any_value(self) -> None:
        given = config("hybrid_tdt")
        for section in ("preprocessor", "encoder", "decoder", "joint", "loss", "model_defaults"):
            for key in given[section]:
                for evil in ({"_target_": UNPICKLE}, [{"_target_": UNPICKLE}]):
                    changed = copy.deepcopy(given)
                    changed[section][key] = evil
                    with pytest.raises(EngineError, match=section):
                        safe_config(changed)

    @pytest.mark.parametrize("section", [key for key in ALLOWED_CLASSES if "." not in key])
    @pytest.mark.parametrize(
        "target",
        [
            None,
            1,
            ["x"],
            "os.system",
            "nemo.collections.asr.modules",
            "nemo.collections.asr.modules.",
            "nemo.collections.asr.modules.rnnt.ConformerEncoder",
            "nemo.collections.asr.modules.ConformerEncoder.forward",
            "nemo.collections.asr.data.audio_to_text.AudioToCharDataset",
            "nemo.collections.asr.parts.utils.manifest_utils.write_manifest",
            "torch.nn.Linear",
        ],
    )
    def test_refuses_any_other_class(self, section: str, target: Any) -> None:
        part: Any = {"_target_": target}
        changed = config() | {section: {"mine": part} if section == "adapters" else part}
        with pytest.raises(EngineError, match=section):
            safe_config(changed)

    def test_refuses_sections_that_are_no_mappings(self) -> None:
        for section in ("encoder", "decoding", "aux_ctc", "adapters"):
            with pytest.raises(EngineError, match=f"{section} is not a mapping"):
                safe_config(config() | {section: ["x"]})

    @pytest.mark.parametrize(
        "target",
        [
            None,
            ["nemo.collections.asr.models.EncDecCTCModel"],
            "subprocess.Popen",
            "evil.EncDecCTCModel",
            "nemo.collections.asr.modelsEncDecCTCModel",
            "nemo.collections.asr.models.label_models.EncDecSpeakerLabelModel",
        ],
    )
    def test_refuses_other_models(self, target: Any) -> None:
        with pytest.raises(EngineError, match="not supported; supported are: EncDecCTCModel, "):
            safe_config(config(target=target))

    def test_keeps_adapters(self) -> None:
        given = {"global_cfg": {"meta": {"modules": {"mine": ""}}}, "mine": adapter()}
        assert safe_config(config(adapters=given))["adapters"] == {
            "global_cfg": given["global_cfg"],
            "mine": {
                "_target_": "nemo.collections.common.parts.LinearAdapter",
                "in_features": 32,
                "dim": 8,
                "enabled": False,
                "adapter_strategy": {
                    "_target_": "nemo.core.classes.mixins.adapter_mixin_strategies."
                    "ResidualAddAdapterStrategy",
                    "l2_lambda": 0.0,
                },
            },
        }


class TestTokenizer:
    MEMBERS: Mapping[str, Path] = {name: Path("/x", name) for name in ("a.model", "vocab.txt")}

    def test_of_pieces(self) -> None:
        section = {"dir": "/gone", "type": "bpe", "model_path": "nemo:a.model"}
        found = tokenizer_files(config("ctc_bpe", tokenizer=section), self.MEMBERS)
        assert found == {"type": "bpe", "model": Path("/x/a.model")}

    @pytest.mark.parametrize(
        "section",
        [
            {"type": "bpe", "dir": "/home/me/bpe", "model_path": "/home/me/bpe/a.model"},
            {"type": "bpe", "dir": "/gone", "model_path": "/x/a.model", "vocab_path": "vocab.txt"},
            {"type": "BPE", "model_path": "a.model", "spe_tokenizer_vocab": "nemo:gone"},
        ],
    )
    def test_as_older_files_name_it(self, section: dict[str, Any]) -> None:
        found = tokenizer_files(config("ctc_bpe", tokenizer=section), self.MEMBERS)
        assert found == {"type": "bpe", "model": Path("/x/a.model")}

    def test_in_a_folder_of_the_machine_that_trained(self) -> None:
        section = {"type": "bpe", "dir": "/home/me/bpe"}
        members = {"tokenizer.model": Path("/y")}
        found = tokenizer_files(config("ctc_bpe", tokenizer=section), members)
        assert found == {"type": "bpe", "model": Path("/y")}

    def test_of_languages(self) -> None:
        one = {"type": "bpe", "model_path": "nemo:a.model"}
        section = {"type": "agg", "langs": {"en": one, "de_CH": one}}
        found = tokenizer_files(config("ctc_bpe", tokenizer=section), self.MEMBERS)
        member = {"type": "bpe", "model": Path("/x/a.model")}
        assert found["langs"] == {"en": member, "de_CH": member}

    def test_of_a_model_of_characters_is_none(self) -> None:
        evil = {"type": "bpe", "model_path": "/etc/passwd"}
        assert tokenizer_files(config(tokenizer=evil), self.MEMBERS) == {}
        assert "tokenizer" not in safe_config(config(tokenizer=evil))

    @pytest.mark.parametrize(
        "section",
        [
            None,
            {},
            {"type": "bpe"},
            {"type": "bpe", "model_path": 1},
            {"type": "bpe", "model_path": "/etc/passwd"},
            {"type": "bpe", "model_path": "nemo:../a.model"},
            {"type": "bpe", "model_path": "nemo:/x/a.model"},
            {"type": "bpe", "model_path": "nemo:a.model", "vocab_path": "/etc/passwd"},
            {"type": "bpe", "model_path": "nemo:a.model", "spe_tokenizer_vocab": "/b"},
            {"type": "bpe", "model_path": "nemo:a.model", "custom_tokenizer": "x"},
            {"type": "wpe", "vocab_path": "/etc/passwd"},
            {"type": "wpe", "vocab_path": "nemo:vocab.txt"},
            {"type": "custom", "model_path": "nemo:a.model"},
            {"type": "agg"},
            {"type": "agg", "langs": {}},
            {"type": "agg", "langs": {"a.b": {"type": "bpe", "model_path": "nemo:a.model"}}},
            {"type": "agg", "langs": {"en": {"type": "bpe", "model_path": "/etc/passwd"}}},
            {"type": "agg", "langs": {"en": {"type": "agg", "langs": {}}}},
        ],
    )
    def test_that_is_no_member_is_refused(self, section: Any) -> None:
        with pytest.raises(EngineError, match="tokenizer"):
            tokenizer_files(config("ctc_bpe", tokenizer=section), self.MEMBERS)


@pytest.mark.nemo
def test_the_list_is_of_classes_that_nemo_has_and_their_arguments(nemo: None) -> None:
    for place, name, part in listed(ALLOWED_CLASSES | MULTITASK_CLASSES):
        made = {getattr(*split(target)) for target in part.names(name)}
        assert len(made) == 1, f"{place}: {name} is several things"
        found: Any = inspect.unwrap(made.pop())
        arguments = part.arguments | part.tables | part.parts.keys()
        maker = found.__init__ if inspect.isclass(found) else found
        own = maker is not object.__init__
        signature = inspect.signature(maker).parameters if own else {}
        assert set(signature) - {"self", "rng"} == arguments, f"{place}: {name}"
        kinds = {each.kind for each in signature.values()}
        assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    assert all(isinstance(nemo_class(name), type) for name in HEADS)


def listed(
    places: Mapping[str, Mapping[str, AllowedClass]], above: str = ""
) -> Iterator[tuple[str, str, AllowedClass]]:
    for place, known in places.items():
        for name, part in known.items():
            yield above + place, name, part
            yield from listed(part.parts, f"{above}{place}.")


def split(target: str) -> tuple[Any, str]:
    module, _, name = target.rpartition(".")
    return importlib.import_module(module), name


def without(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if name != key}
    return value


def adapter() -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.common.parts.adapter_modules.LinearAdapter",
        "in_features": 32,
        "dim": 8,
        "enabled": False,
        "adapter_strategy": {
            "_target_": "nemo.core.classes.mixins.adapter_mixin_strategies."
            "ResidualAddAdapterStrategy",
            "l2_lambda": 0.0,
        },
    }


def with_each_mapping(
    whole: dict[str, Any], more: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str]]:
    """Copies of `whole`, in each of which another mapping has got `more`; and its place."""

    def places(value: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict):
            yield way
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in items:
            if isinstance(each, dict | list):
                yield from places(each, (*way, key))

    for way in places(whole, ()):
        changed = copy.deepcopy(whole)
        at: Any = changed
        for key in way:
            at = at[key]
        at.update(more)
        yield changed, ".".join(map(str, way))
