"""The allow-list for the configuration of a NeMo model: classes and arguments, by section.

NeMo instantiates every ``_target_`` in its own namespace, which includes functions that unpickle
and write files. Here nothing is instantiated that is not in this list.
`serve_app.engines.nemo.configuration` applies it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The class of an attention encoder-decoder: Canary.
MULTITASK = "EncDecMultiTaskModel"
#: Those of transducers, and of hybrid models, that are told the language of each clip.
PROMPTED = ("EncDecRNNTBPEModelWithPrompt", "EncDecHybridRNNTCTCBPEModelWithPrompt")
#: Model classes that the NeMo engine can serve, with their heads, the default first.
HEADS: dict[str, tuple[str, ...]] = {
    "EncDecCTCModel": ("ctc",),
    "EncDecCTCModelBPE": ("ctc",),
    "EncDecRNNTModel": ("rnnt",),
    "EncDecRNNTBPEModel": ("rnnt",),
    "EncDecHybridRNNTCTCModel": ("rnnt", "ctc"),
    "EncDecHybridRNNTCTCBPEModel": ("rnnt", "ctc"),
    PROMPTED[0]: ("rnnt",),
    PROMPTED[1]: ("rnnt", "ctc"),
    MULTITASK: ("aed",),
}
#: Those of all models that are told the language of each clip.
TOLD_CLASSES = frozenset({MULTITASK, *PROMPTED})
#: The class of the second model in the archive of a multitask one, which times its words.
TIMES_CLASS = "EncDecCTCModelBPE"
#: Their package; a file names them by it or by a module in it.
MODELS = "nemo.collections.asr.models"


@dataclass(frozen=True)
class AllowedClass:
    """A class, or a function that makes one, that a section of the configuration may name.

    Attributes:
        package: the package of the class; a file may name it ``package.NAME``.
        module: a module in `package`; a file may also name the class ``package.module.NAME``. Empty
            if it has only the first name.
        arguments: arguments of its constructor that are single values or lists of them.
        tables: arguments that are mappings, or lists of mappings, of plain values.
        parts: arguments that name a class themselves, with the classes that each may name.
    """

    package: str
    module: str
    arguments: frozenset[str]
    tables: frozenset[str] = frozenset()
    parts: Mapping[str, Mapping[str, AllowedClass]] = field(default_factory=dict)

    def names(self, name: str) -> tuple[str, ...]:
        """The names that a file may use for the class; NeMo is given the first.

        Args:
            name: of the class.
        """
        short = f"{self.package}.{name}"
        return (short, f"{self.package}.{self.module}.{name}") if self.module else (short,)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MODULES = "nemo.collections.asr.modules"
_ADAPTERS = "nemo.collections.asr.parts.submodules.adapters"

_CONFORMER = _words(
    """feat_in n_layers d_model feat_out causal_downsampling subsampling subsampling_factor
    subsampling_conv_chunking_factor subsampling_conv_channels reduction reduction_position
    reduction_factor ff_expansion_factor self_attention_model n_heads att_context_size
    att_context_probs att_chunk_context_size att_context_style xscaling untie_biases pos_emb_max_len
    conv_kernel_size conv_norm_type conv_context_size conv_context_style use_bias dropout
    dropout_pre_encoder dropout_emb dropout_att stochastic_depth_drop_prob stochastic_depth_mode
    stochastic_depth_start_layer global_tokens global_tokens_spacing global_attn_separate
    use_pytorch_sdpa use_pytorch_sdpa_backends sync_max_audio_length"""
)
_CONVOLUTIONS = _words(
    "activation feat_in normalization_mode residual_mode norm_groups conv_mask frame_splicing "
    "init_mode quantize"
)
_JOINT = _words(
    "num_classes num_extra_outputs vocabulary log_softmax preserve_memory fuse_loss_wer "
    "fused_batch_size experimental_fuse_loss_wer"
)
_CTC_DECODERS = {
    "ConvASRDecoder": AllowedClass(
        _MODULES, "conv_asr", _words("feat_in num_classes init_mode vocabulary add_blank")
    ),
    "LSTMDecoder": AllowedClass(
        _MODULES,
        "lstm_decoder",
        _words(
            "feat_in num_classes lstm_hidden_size vocabulary bidirectional num_layers add_blank"
        ),
    ),
}
_TRANSDUCER_DECODERS = {
    "RNNTDecoder": AllowedClass(
        _MODULES,
        "rnnt",
        _words("vocab_size normalization_mode random_state_sampling blank_as_pad"),
        tables=_words("prednet"),
    ),
    "StatelessTransducerDecoder": AllowedClass(
        _MODULES,
        "rnnt",
        _words("vocab_size context_size normalization_mode"),
        tables=_words("prednet"),
    ),
}
_STRATEGIES_MODULE = "nemo.core.classes.mixins.adapter_mixin_strategies"
_STRATEGIES = {
    "ResidualAddAdapterStrategy": AllowedClass(
        _STRATEGIES_MODULE, "", _words("stochastic_depth l2_lambda")
    ),
    "ReturnResultAdapterStrategy": AllowedClass(_STRATEGIES_MODULE, "", frozenset()),
    "MHAResidualAddAdapterStrategy": AllowedClass(
        _ADAPTERS, "multi_head_attention_adapter_module", _words("stochastic_depth l2_lambda")
    ),
}
_STRATEGY_ARGUMENT = {"adapter_strategy": _STRATEGIES}
_ATTENTION = _words(
    "n_head n_feat dropout_rate proj_dim use_pytorch_sdpa use_pytorch_sdpa_backends"
)

#: The classes that each section of the configuration may name.
ALLOWED_CLASSES: dict[str, dict[str, AllowedClass]] = {
    "preprocessor": {
        "AudioToMelSpectrogramPreprocessor": AllowedClass(
            _MODULES,
            "audio_preprocessing",
            _words(
                """sample_rate window_size window_stride n_window_size n_window_stride window
                normalize n_fft preemph features lowfreq highfreq log log_zero_guard_type
                log_zero_guard_value dither pad_to frame_splicing exact_pad pad_value mag_power
                nb_augmentation_prob nb_max_freq mel_norm use_torchaudio stft_exact_pad stft_conv"""
            ),
        ),
    },
    "spec_augment": {
        "SpectrogramAugmentation": AllowedClass(
            _MODULES,
            "audio_preprocessing",
            _words(
                """freq_masks time_masks freq_width time_width rect_masks rect_time rect_freq
                mask_value use_vectorized_spec_augment use_numba_spec_augment"""
            ),
        ),
        "MaskedPatchAugmentation": AllowedClass(
            _MODULES, "audio_preprocessing", _words("patch_size mask_patches freq_masks freq_width")
        ),
    },
    "encoder": {
        "ConformerEncoder": AllowedClass(_MODULES, "conformer_encoder", _CONFORMER),
        "ConformerEncoderAdapter": AllowedClass(_MODULES, "conformer_encoder", _CONFORMER),
        "ConvASREncoder": AllowedClass(
            _MODULES, "conv_asr", _CONVOLUTIONS, tables=_words("jasper")
        ),
        "ConvASREncoderAdapter": AllowedClass(
            _MODULES, "conv_asr", _CONVOLUTIONS, tables=_words("jasper")
        ),
        "RNNEncoder": AllowedClass(
            _MODULES,
            "rnn_encoder",
            _words(
                """feat_in n_layers d_model proj_size rnn_type bidirectional subsampling
                subsampling_factor subsampling_conv_channels dropout"""
            ),
        ),
    },
    "decoder": _CTC_DECODERS | _TRANSDUCER_DECODERS,
    "joint": {
        "RNNTJoint": AllowedClass(
            _MODULES, "rnnt", _JOINT | _words("masking_prob"), tables=_words("jointnet")
        ),
        "SampledRNNTJoint": AllowedClass(
            _MODULES,
            "rnnt",
            _JOINT - _words("num_extra_outputs experimental_fuse_loss_wer") | _words("n_samples"),
            tables=_words("jointnet"),
        ),
        "HATJoint": AllowedClass(
            _MODULES, "hybrid_autoregressive_transducer", _JOINT, tables=_words("jointnet")
        ),
    },
    "aux_ctc.decoder": _CTC_DECODERS,
    "adapters": {
        "LinearAdapter": AllowedClass(
            "nemo.collections.common.parts",
            "adapter_modules",
            _words("in_features dim activation norm_position dropout"),
            parts=_STRATEGY_ARGUMENT,
        ),
        "MultiHeadAttentionAdapter": AllowedClass(
            _ADAPTERS, "multi_head_attention_adapter_module", _ATTENTION, parts=_STRATEGY_ARGUMENT
        ),
        "RelPositionMultiHeadAttentionAdapter": AllowedClass(
            _ADAPTERS, "multi_head_attention_adapter_module", _ATTENTION, parts=_STRATEGY_ARGUMENT
        ),
        "PositionalEncodingAdapter": AllowedClass(
            _ADAPTERS,
            "multi_head_attention_adapter_module",
            _words("d_model max_len xscale"),
            parts=_STRATEGY_ARGUMENT,
        ),
        "RelPositionalEncodingAdapter": AllowedClass(
            _ADAPTERS,
            "multi_head_attention_adapter_module",
            _words("d_model max_len xscale"),
            parts=_STRATEGY_ARGUMENT,
        ),
    },
}

_TRANSFORMER = "nemo.collections.asr.modules.transformer"
#: Those of the sections that only a multitask model has.
MULTITASK_CLASSES: dict[str, dict[str, AllowedClass]] = {
    "transf_encoder": {
        "TransformerEncoder": AllowedClass(
            _TRANSFORMER,
            "transformer_encoders",
            _words(
                """num_layers hidden_size inner_size mask_future num_attention_heads
                attn_score_dropout attn_layer_dropout ffn_dropout hidden_act pre_ln
                pre_ln_final_layer_norm"""
            ),
        ),
    },
    "transf_decoder": {
        "get_nemo_transformer": AllowedClass(
            _TRANSFORMER,
            "transformer_utils",
            _words("model_name pretrained encoder pre_ln_final_layer_norm"),
            tables=_words("config_dict"),
        ),
    },
    "head": {
        "TokenClassifier": AllowedClass(
            "nemo.collections.asr.parts.submodules.token_classifier",
            "",
            _words(
                """hidden_size num_classes num_layers activation log_softmax dropout
                use_transformer_init"""
            ),
        ),
    },
}
#: What its head may compute between its layers; NeMo takes any function of torch.
ACTIVATIONS = _words("relu")
#: The prompts that it may begin its texts with.
PROMPT_FORMATS = ("canary", "canary2")
#: Sections that a multitask model must have but that serving it does not use, and what stands
#: there instead of what the file says: its loss, its metrics, and whether NeMo looks for a second
#: model by itself.
MULTITASK_SECTIONS: dict[str, Any] = {
    "loss": {
        "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss"
    },
    "multitask_metrics_cfg": {"metrics": {"wer": {"_target_": "nemo.collections.asr.metrics.WER"}}},
    "restore_timestamps_model": False,
}

_TOKENIZERS = "nemo.collections.common.tokenizers.canary_tokenizer"
#: The class that wraps the tokenizers of a multitask model, by their kind.
CUSTOM_TOKENIZERS = {
    "agg": f"{_TOKENIZERS}.CanaryTokenizer",
    "bpe": f"{_TOKENIZERS}.CanaryBPETokenizer",
}

#: Sections that are copied as they are: plain values, none of which names a class or a file.
PLAIN_SECTIONS = _words(
    """sample_rate labels model_defaults loss interctc log_prediction use_cer ctc_reduction
    rnnt_reduction skip_nan_grad compute_eval_loss variational_noise normalize_joint_txu
    normalize_encoder_norm normalize_decoder_norm normalize_joint_norm nemo_version"""
)
#: Sections for training. They are dropped without being checked.
DROPPED_SECTIONS = _words("train_ds validation_ds test_ds optim")

#: Keys of a decoding section that apply to greedy search, which the engine uses.
DECODING_KEYS = _words(
    """model_type durations big_blank_durations fused_batch_size preserve_alignments
    compute_timestamps tdt_include_token_duration compute_hypothesis_token_set word_seperator
    segment_seperators segment_gap_threshold ctc_timestamp_type rnnt_timestamp_type
    batch_dim_index temperature strip_lang_tags"""
)
#: Keys of its section `greedy`.
GREEDY_KEYS = _words(
    """max_symbols max_symbols_per_step preserve_alignments compute_timestamps loop_labels
    use_cuda_graph_decoder allow_cuda_graphs tdt_include_token_duration"""
)
#: Keys of greedy search that name files. No archive contains these files.
FILE_KEYS = _words("ngram_lm_model model_path key_phrases_file")
