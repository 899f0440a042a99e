"""Kinds of hostile model files, each made of a sound one.

To add a kind, add a function with `@kind`. If a kind contains code, that code leaves a mark: it
creates the file `Site.mark`. `NEMO_RUNS` are the kinds whose code NeMo itself runs when it loads
the file, which shows that the marks work.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from tests.serve_app.engines.nemo.archives import (
    CONFIG,
    TIMES_CONFIG,
    TIMES_WEIGHTS,
    WEIGHTS,
    member,
    plain_tar,
    tar_of,
    with_config,
)
from tests.serve_app.engines.nemo.tiny_multitask import CANARY_BPE, multitask_config

# The compiler of TorchScript keeps one unit for a process: two threads define a class twice.
_ONE_COMPILER = threading.Lock()

_MODELS = "nemo.collections.asr.models"
_PARTS = "nemo.collections.asr.parts"
_MODULES = "nemo.collections.asr.modules"
#: Functions of NeMo that it allows a configuration to call.
_UNPICKLE = f"{_PARTS}.preprocessing.feature_loader.ExternalFeatureLoader.load_feature_from_file"
_WRITE = f"{_PARTS}.utils.manifest_utils.write_manifest"


class Site(NamedTuple):
    """What a hostile file is made of.

    Attributes:
        members: of a sound model: CTC, with BPE pieces.
        mark: the file that code of the attacker makes.
        folder: where the attacker can put files beside the model.
    """

    members: Mapping[str, bytes]
    mark: Path
    folder: Path


class Mark:
    """An object that creates the file `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
        return os.open, (str(self._mark), os.O_CREAT)


Make = Callable[[Site], bytes]
KINDS: dict[str, Make] = {}
#: The kinds whose code NeMo 3.0 runs.
NEMO_RUNS: set[str] = set()


def kind(name: str, *, nemo_runs: bool = False) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        KINDS[name] = make
        if nemo_runs:
            NEMO_RUNS.add(name)
        return make

    return add


def unpickle(site: Site) -> dict[str, Any]:
    """A section that has NeMo unpickle a file."""
    file = site.folder / "features.npy"
    file.write_bytes(pickle.dumps(Mark(site.mark)))
    return {"_target_": _UNPICKLE, "self": None, "file_path": str(file)}


def write(site: Site) -> dict[str, Any]:
    """A section that has NeMo write a file."""
    return {"_target_": _WRITE, "output_path": str(site.mark), "target_manifest": [{}]}


def put(config: dict[str, Any], place: str, value: Any) -> None:
    """Set what stands at ``a.b.c``; sections on the way are made."""
    *way, last = place.split(".")
    for key in way:
        config = config.setdefault(key, {})
    config[last] = value


def changed(place: str, value: Callable[[Site], Any]) -> Make:
    """A file whose configuration has `value` at `place`."""

    def make(site: Site) -> bytes:
        return plain_tar(with_config(site.members, lambda config: put(config, place, value(site))))

    return make


def rewritten(change: Callable[[str, Site], str]) -> Make:
    """A file whose configuration has another text."""

    def make(site: Site) -> bytes:
        text = change(site.members[CONFIG].decode(), site)
        return plain_tar({**site.members, CONFIG: text.encode()})

    return make


def beside(*members: Callable[[Site], tuple[tarfile.TarInfo, bytes]]) -> Make:
    """A file with more members than a model has."""

    def make(site: Site) -> bytes:
        sound = [member(name, data) for name, data in site.members.items()]
        return tar_of([*sound, *(each(site) for each in members)])

    return make


def weights(make_weights: Callable[[Site], bytes]) -> Make:
    """A file with other weights."""

    def make(site: Site) -> bytes:
        return plain_tar({**site.members, WEIGHTS: make_weights(site)})

    return make


# -- classes and functions in wrong places ------------------------------------------------------

_BELOW = {
    "an argument of the preprocessor unpickles": "preprocessor.features",
    "an argument of the encoder unpickles": "encoder.n_layers",
    "an argument of the decoder unpickles": "decoder.init_mode",
    "an argument of the augmentation unpickles": "spec_augment.freq_masks",
    "an argument that the class does not know unpickles": "encoder.feature_loader",
    "a table in the preprocessor unpickles": "preprocessor.extra.deeper",
}
for _name, _place in _BELOW.items():
    kind(_name, nemo_runs=True)(changed(_place, unpickle))
kind("an argument of the preprocessor writes", nemo_runs=True)(
    changed("preprocessor.features", write)
)
kind("an item of a list unpickles", nemo_runs=True)(
    changed("encoder.att_context_size", lambda site: [unpickle(site), -1])
)
kind("positional arguments unpickle", nemo_runs=True)(
    changed("preprocessor._args_", lambda site: [unpickle(site)])
)
kind("the preprocessor is a function that writes", nemo_runs=True)(changed("preprocessor", write))
kind("the augmentation is a function that unpickles", nemo_runs=True)(
    changed("spec_augment", unpickle)
)
kind("the preprocessor in the words of Hydra 0", nemo_runs=True)(
    changed(
        "preprocessor",
        lambda site: {
            "cls": _WRITE,
            "params": {"output_path": str(site.mark), "target_manifest": [{}]},
        },
    )
)
kind("target and params")(
    changed(
        "preprocessor",
        lambda site: {
            "target": _WRITE,
            "params": {},
            "_target_": _WRITE,
            "output_path": str(site.mark),
            "target_manifest": [{}],
        },
    )
)
kind("a section that nobody knows names a function")(changed("postprocessor", unpickle))
kind("the loss names a function")(changed("loss", unpickle))
kind("decoding names a function")(changed("decoding.greedy.helper", unpickle))
kind("the defaults name a function")(changed("model_defaults.enc_hidden", unpickle))
kind("an adapter names a function")(changed("adapters.evil", unpickle))
kind("the strategy of an adapter names a function")(
    changed(
        "adapters.evil",
        lambda site: {
            "_target_": "nemo.collections.common.parts.adapter_modules.LinearAdapter",
            "in_features": 128,
            "dim": 8,
            "adapter_strategy": unpickle(site),
        },
    )
)
kind("a custom tokenizer")(changed("tokenizer.custom_tokenizer", unpickle))
kind("partial")(changed("preprocessor._partial_", lambda _: True))
kind("not recursive")(changed("encoder._recursive_", lambda _: False))
kind("converted")(changed("encoder._convert_", lambda _: "all"))
kind("a data set as preprocessor")(
    changed(
        "preprocessor",
        lambda site: {
            "_target_": "nemo.collections.asr.data.audio_to_text.AudioToCharDataset",
            "manifest_filepath": str(site.folder / "features.npy"),
            "labels": [],
            "sample_rate": 16000,
        },
    )
)
kind("a class of torch as encoder")(
    changed(
        "encoder", lambda _: {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    )
)
kind("a decoder as preprocessor")(
    changed("preprocessor._target_", lambda _: f"{_MODULES}.ConvASRDecoder")
)
kind("a known class by an unknown way")(
    changed("encoder._target_", lambda _: f"{_MODULES}.conv_asr.ConformerEncoder")
)
kind("an argument that nobody knows")(changed("encoder.loader", lambda _: "evil"))
kind("a list for a class")(changed("encoder._target_", lambda _: [_UNPICKLE]))
kind("a program as model")(changed("target", lambda _: "subprocess.Popen"))
kind("a model that is not served")(
    changed("target", lambda _: f"{_MODELS}.EncDecSpeakerLabelModel")
)

# -- configurations that are no data ------------------------------------------------------------

kind("the environment")(changed("encoder.d_model", lambda _: "${oc.env:HOME}"))
kind("the environment, in other letters")(
    rewritten(lambda text, _: text + 'use_cer: "\\x24{oc.env:HOME}"\n')
)
kind("the environment as a key")(rewritten(lambda text, _: text + '"${oc.env:HOME}": 1\n'))
kind("aliases")(rewritten(lambda text, _: text + "a: &a [1, 2]\nb: [*a, *a]\n"))
kind("a tag of Python")(
    rewritten(lambda text, site: text + f"a: !!python/object/apply:os.open ['{site.mark}', 64]\n")
)
kind("a number that is none")(rewritten(lambda text, _: text + "a: !!int ''\n"))
kind("a set")(rewritten(lambda text, _: text + "labels: !!set {a, b}\n"))
kind("a list of a hundred thousand labels")(
    changed("encoder.att_context_size", lambda _: [1] * 100_000)
)
kind("nested a hundred thousand deep")(rewritten(lambda text, _: text + "a: " + "[" * 100_000))
kind("nested five hundred deep")(
    rewritten(lambda text, _: text + "a: " + "[" * 500 + "]" * 500 + "\n")
)
kind("no text")(lambda site: plain_tar({**site.members, CONFIG: b"\xff\xfe\x00"}))


# -- archives with two faces --------------------------------------------------------------------


def _evil(site: Site) -> dict[str, bytes]:
    return with_config(
        site.members, lambda config: put(config, "preprocessor.features", unpickle(site))
    )


@kind("a gzip that is a tar too", nemo_runs=True)
def _polyglot(site: Site) -> bytes:
    """Who tries gzip first reads the sound model; who tries tar first the evil one.

    A gzip header may carry up to 64 KiB of anything: here the head of a tar, whose first member is
    the gzip itself, and whose others follow after it.
    """
    body = gzip.compress(plain_tar(site.members), mtime=0)[10:]
    extra = 2 << 10
    # of ten bytes of gzip's header, two of a length and the rest of 512, tar reads a header
    first = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    first[:12] = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", extra)
    size = 12 + extra + len(body) - 512
    first[124:136] = f"{size:011o}\0".encode()
    first[148:156] = b" " * 8
    first[148:156] = f"{sum(first):06o}\0 ".encode()
    gzipped = bytes(first).ljust(12 + extra, b"\0") + body
    return gzipped + b"\0" * (-len(gzipped) % 512) + plain_tar(_evil(site))


@kind("a second archive after the first")
def _two(site: Site) -> bytes:
    return plain_tar(site.members) + plain_tar(_evil(site))


@kind("a gzip after the first")
def _two_gzips(site: Site) -> bytes:
    return gzip.compress(plain_tar(site.members)) + gzip.compress(plain_tar(_evil(site)))


@kind("two configurations of one name", nemo_runs=True)
def _twice(site: Site) -> bytes:
    both = [member(name, data) for name, data in site.members.items()]
    return tar_of([*both, member(CONFIG, _evil(site)[CONFIG])])


@kind("two configurations by two names", nemo_runs=True)
def _twice_apart(site: Site) -> bytes:
    return plain_tar({**site.members, "model_config.yaml": _evil(site)[CONFIG]})


@kind("a header that renames a member", nemo_runs=True)
def _renamed(site: Site) -> bytes:
    both = [member(name, data) for name, data in site.members.items()]
    named = {"path": CONFIG}
    return tar_of([*both, member("./notes", _evil(site)[CONFIG], pax_headers=named)])


@kind("a header for all members")
def _global(site: Site) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"comment": "x"}) as archive:
        for name, data in site.members.items():
            info, _ = member(name, data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@kind("a damaged header in the middle")
def _damaged(site: Site) -> bytes:
    data = bytearray(plain_tar(site.members))
    last = list(site.members)[-1].encode()
    data[data.rindex(last) + 200] ^= 1
    return bytes(data)


kind("data after the end")(lambda site: plain_tar(site.members) + b"#!/bin/sh\n")
kind("half of it")(lambda site: (lambda data: data[: len(data) // 2])(plain_tar(site.members)))
kind("no archive")(lambda site: pickle.dumps(Mark(site.mark)))
kind("a bomb")(
    lambda site: gzip.compress(plain_tar({**site.members, "./zeros": bytes(256 << 20)}), 1)
)
kind("a header that holds megabytes")(
    beside(lambda _: member("./x", b"", pax_headers={"comment": "x" * (1 << 20)}))
)
kind("members without end")(
    beside(*[lambda _, number=number: member(f"./{number}") for number in range(2000)])
)


@kind("headers of headers")
def _headers(site: Site) -> bytes:
    """Each takes `tarfile` a time that grows with the square of its size."""
    slow = b"1" * 1000 + b" hdrcharset="
    extensions = [member("./x", slow, kind=tarfile.XHDTYPE) for _ in range(500)]
    sound = [member(name, data) for name, data in site.members.items()]
    return tar_of([*extensions, *sound])


@kind("a sparse member")
def _sparse(site: Site) -> bytes:
    plain = [member(name, data) for name, data in site.members.items()]
    sizes = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
    return tar_of([*plain, member("./vocabulary", b"x", pax_headers=sizes)])


@kind("a sparse member of the old kind")
def _old_sparse(site: Site) -> bytes:
    plain = [member(name, data) for name, data in site.members.items()]
    return tar_of([*plain, member("./vocabulary", b"x", kind=tarfile.GNUTYPE_SPARSE)])


# -- members and names that lead elsewhere ------------------------------------------------------


def _link(kind_: bytes) -> Callable[[Site], tuple[tarfile.TarInfo, bytes]]:
    return lambda _: member("./secret", b"", kind=kind_, linkname="/etc/passwd")


_LINKS = {"a symbolic link": tarfile.SYMTYPE, "a hard link": tarfile.LNKTYPE}
for _name, _type in _LINKS.items():
    kind(_name)(beside(_link(_type)))
kind("a pipe")(beside(lambda _: member("./pipe", b"", kind=tarfile.FIFOTYPE)))
kind("a device")(beside(lambda _: member("./disk", b"", kind=tarfile.BLKTYPE)))
kind("a member above the archive")(beside(lambda site: member(f"../{site.mark.name}", b"x")))
kind("a member by an absolute path")(beside(lambda site: member(str(site.mark), b"x")))


def _outside(site: Site) -> str:
    """A sound tokenizer that lies outside the archive."""
    file = site.folder / "tokenizer.model"
    file.write_bytes(next(v for k, v in site.members.items() if k.endswith("tokenizer.model")))
    return str(file)


kind("a tokenizer by an absolute path")(changed("tokenizer.model_path", _outside))
kind("a tokenizer out of the folder")(
    changed("tokenizer.model_path", lambda site: f"nemo:../../..{_outside(site)}")
)
kind("a tokenizer by a path from here")(
    changed("tokenizer.model_path", lambda site: os.path.relpath(_outside(site)))
)
kind("a vocabulary of the machine")(changed("tokenizer.vocab_path", lambda _: "/etc/passwd"))
kind("scores of the machine")(changed("tokenizer.spe_tokenizer_vocab", lambda _: "/etc/passwd"))
kind("a tokenizer of a hub")(
    changed(
        "tokenizer",
        lambda site: {
            "type": "wpe",
            "dir": "",
            "vocab_path": next(f"nemo:{k[2:]}" for k in site.members if k.endswith("vocab.txt")),
        },
    )
)
kind("a language that leads elsewhere")(
    changed(
        "tokenizer",
        lambda site: {
            "type": "agg",
            "langs": {"../x": {"type": "bpe", "dir": "", "model_path": _outside(site)}},
        },
    )
)
kind("a tokenizer that is none")(
    lambda site: plain_tar(
        {
            name: b"\xff" * 1000 if name.endswith("tokenizer.model") else data
            for name, data in site.members.items()
        }
    )
)
kind("a language model of the machine")(
    changed("decoding.greedy.ngram_lm_model", lambda _: "/etc/passwd")
)
kind("phrases of the machine")(
    changed("decoding.greedy.boosting_tree.key_phrases_file", lambda _: "/etc/passwd")
)
kind("a network too large for any machine")(changed("encoder.n_layers", lambda _: 10**9))
kind("a layer too large for its weights")(changed("encoder.d_model", lambda _: 2**14))
kind("another number of pieces")(changed("decoder.num_classes", lambda _: 7))


# -- weights that are no weights ----------------------------------------------------------------


def _zipped(pickled: bytes, compression: int = zipfile.ZIP_STORED, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        for name, data in others.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


kind("weights that run code")(
    weights(lambda site: _zipped(pickle.dumps({"x": Mark(site.mark)}, protocol=2)))
)
kind("weights that run code in the old format")(
    weights(lambda site: pickle.dumps(Mark(site.mark), protocol=2))
)
kind("weights in a newer pickle")(
    weights(lambda site: _zipped(pickle.dumps({"x": Mark(site.mark)}, protocol=4)))
)
kind("weights that name a set")(weights(lambda _: _zipped(pickle.dumps({"x": {1, 2}}, protocol=2))))
kind("compressed weights")(
    weights(
        lambda _: _zipped(pickle.dumps({}, protocol=2), zipfile.ZIP_DEFLATED, zeros=bytes(1 << 20))
    )
)
kind("weights behind an older file that runs code")(
    weights(lambda site: pickle.dumps(Mark(site.mark), protocol=2) + site.members[WEIGHTS])
)
kind("weights that are a list")(weights(lambda _: _zipped(pickle.dumps([1, 2], protocol=2))))


@kind("a program as weights")
def _script(site: Site) -> bytes:
    buffer = io.BytesIO()
    with _ONE_COMPILER:
        torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), buffer)
    return plain_tar({**site.members, WEIGHTS: buffer.getvalue()})


@kind("weights of another model")
def _foreign(site: Site) -> bytes:
    buffer = io.BytesIO()
    torch.save({"evil.weight": torch.zeros(1)}, buffer)
    return plain_tar({**site.members, WEIGHTS: buffer.getvalue()})


kind("no weights")(lambda site: plain_tar({k: v for k, v in site.members.items() if k != WEIGHTS}))
kind("a card for a model")(lambda _: json.dumps({"name": "general"}).encode())


# -- multitask models, with a second model inside ------------------------------------------------


def multitask(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The members of a sound multitask model, whose second model is that of `members`."""
    tokenizer = yaml.load(members[CONFIG], yaml.CSafeLoader)["tokenizer"]
    config = multitask_config(tokenizer | {"custom_tokenizer": CANARY_BPE}, "canary2")
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(100_000)}, buffer)
    return {
        **members,
        CONFIG: yaml.dump(config, Dumper=yaml.CSafeDumper).encode(),
        WEIGHTS: buffer.getvalue(),
        TIMES_CONFIG: members[CONFIG],
        TIMES_WEIGHTS: members[WEIGHTS],
    }


def changed_multitask(place: str, value: Callable[[Site], Any], name: str = CONFIG) -> Make:
    """A multitask model with `value` at `place` of one of its configurations."""

    def make(site: Site) -> bytes:
        members = multitask(site.members)
        return plain_tar(with_config(members, lambda config: put(config, place, value(site)), name))

    return make


def other_second(change: Callable[[Site], dict[str, bytes | None]]) -> Make:
    """A multitask model in which members of the second one are others, or missing."""

    def make(site: Site) -> bytes:
        members = multitask(site.members) | change(site)
        return plain_tar({name: data for name, data in members.items() if data is not None})

    return make


kind("the decoder of a multitask model writes", nemo_runs=True)(
    changed_multitask("transf_decoder", write)
)
kind("an argument of the head of a multitask model unpickles", nemo_runs=True)(
    changed_multitask("head.num_layers", unpickle)
)
kind("a table of the decoder of a multitask model unpickles", nemo_runs=True)(
    changed_multitask("transf_decoder.config_dict.num_layers", unpickle)
)
kind("any function as activation")(changed_multitask("head.activation", lambda _: "load"))
kind("a prompt that NeMo does not have")(changed_multitask("prompt_format", lambda _: "../evil"))
kind("defaults of a prompt that name a function")(
    changed_multitask("prompt_defaults", lambda site: [{"role": "user", "slots": unpickle(site)}])
)
kind("a tokenizer that is a function")(
    changed_multitask("tokenizer.custom_tokenizer", lambda site: {"_target_": _WRITE})
)
kind("a billion layers of a decoder")(
    changed_multitask("transf_decoder.config_dict.num_layers", lambda _: 10**9)
)
kind("a billion positions of a decoder")(
    changed_multitask("transf_decoder.config_dict.max_sequence_length", lambda _: 10**9)
)

_SECOND = {
    "an argument of a second model unpickles": ("preprocessor.features", unpickle),
    "the preprocessor of a second model writes": ("preprocessor", write),
}
for _name, (_place, _value) in _SECOND.items():
    kind(_name, nemo_runs=True)(changed_multitask(_place, _value, TIMES_CONFIG))
kind("the environment in a second model")(
    changed_multitask("encoder.d_model", lambda _: "${oc.env:HOME}", TIMES_CONFIG)
)
kind("a second model of another class")(
    changed_multitask("target", lambda _: f"{_MODELS}.EncDecSpeakerLabelModel", TIMES_CONFIG)
)
kind("a second model that cannot time words")(
    changed_multitask(
        "target", lambda _: "nemo.collections.asr.models.EncDecCTCModel", TIMES_CONFIG
    )
)
kind("a second model with a tokenizer by an absolute path")(
    changed_multitask("tokenizer.model_path", _outside, TIMES_CONFIG)
)
kind("weights of a second model that run code")(
    other_second(
        lambda site: {TIMES_WEIGHTS: _zipped(pickle.dumps({"x": Mark(site.mark)}, protocol=2))}
    )
)
kind("no weights of a second model")(other_second(lambda _: {TIMES_WEIGHTS: None}))
kind("no configuration of a second model")(other_second(lambda _: {TIMES_CONFIG: None}))
