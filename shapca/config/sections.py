"""What a training run is: a frozen, validated tree of all that changes its result.

It is hashed into a cell's key. Where and on what a run happens is kept apart (`runtime.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shapca.config import shipped
from shapca.config.base import Name, Number, Section
from shapca.config.files import apply_overrides, read_yaml, validate
from shapca.config.image import ImageConfig

Task = Literal["mner", "mre", "mjere"]
Precision = Literal["fp32", "tf32", "bf16"]

MOST_SUBWORDS = 8192
"""The longest input of a text encoder; most read less, which is known once they are looked at."""
NAMES_OF_WEIGHTS = ("tiny", "minilm", "pretrained", "random")


class DataConfig(Section):
    """Which prepared data set, and which of its parts, a run reads."""

    dataset: Name
    """Name of the prepared folder under the data root."""
    contexts: Name | None = "llava-1.5"
    """Name of the context set (`contexts/<name>.jsonl`); null: text alone."""
    shuffle_contexts: bool = False
    """Give every post another post's context: a control of what contexts contribute."""
    train_limit: Annotated[int, Field(ge=1)] | None = None
    """Train on the first n training examples only; validation and test stay whole."""


class TextConfig(Section):
    """Text encoder (Eq. 1)."""

    encoder: str = "bert-base-uncased"
    """Hub name or folder of a text encoder of transformers (BERT, RoBERTa, DeBERTa …), `minilm`
    (packaged), or `tiny` (built from config)."""
    encode: Literal["joint", "separate"] = "joint"
    """One pass over [CLS] text [SEP] context [SEP], or one pass each."""
    pool: Literal["mean", "cls"] = "mean"
    """Sentence features: masked mean over sub-words, or [CLS] and the middle [SEP]."""
    max_length: Annotated[int, Field(ge=8, le=MOST_SUBWORDS)] = 256
    """Sub-words of text and context together, as many as the encoder has positions for at most; the
    context is cut first."""
    freeze: bool = False
    """Keep the encoder's weights as they are."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""


class AlignmentConfig(Section):
    """Contrastive alignment (Eq. 3-7, Algorithm 1)."""

    objective: Literal["shapley", "infonce", "none"] = "shapley"
    """Contrastive objective; `infonce` is the row "w/o Shapley Value"."""
    estimator: Literal["cyclic", "monte_carlo", "exact", "enumerate"] = "exact"
    """How Shapley values are estimated; `cyclic` is Algorithm 1."""
    num_permutations: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Permutations of `monte_carlo`."""
    temperature: Annotated[Number, Field(ge=0.005, le=100.0)] = 1.0
    """Softmax temperature tau of the utility (Eq. 4), or of `infonce`. On real pairs `softmax` did
    best from 1 upwards, `mean` near 0.3, `infonce` near 0.2."""
    negatives: Literal["sum", "mean", "softmax"] = "softmax"
    """Cross-entropy of the true pair over all Shapley values; or, in Eq. 5, the sum of the
    negatives' values as printed, which lets the alignment collapse, or their mean."""
    value_temperature: Annotated[Number, Field(ge=0.001, le=1.0)] = 0.05
    """Temperature of `negatives: softmax`, by which Shapley values are divided."""
    learn_temperature: bool = False
    """Learn the temperature of `negatives: softmax`, or tau of `infonce`, from where it is set."""
    mask_duplicates: bool = False
    """Leave pairs that share an image out of the negatives."""
    bridge: Literal["context", "direct"] = "context"
    """Align over the context, or text with image directly (row "w/o Context in Alignment")."""
    features: Literal["shared", "separate"] = "shared"
    """Align the features that the fusion reads, or, under `encode: joint`, those of separate passes
    of text and context: in one pass a true pair can be told without being aligned."""
    alpha: Annotated[Number, Field(ge=0.0, le=100.0)] = 0.2
    """Weight of the semantic loss (Eq. 19)."""
    beta: Annotated[Number, Field(ge=0.0, le=100.0)] = 0.4
    """Weight of the modality loss (Eq. 19)."""

    @model_validator(mode="after")
    def _has_a_temperature_to_learn(self) -> Self:
        if self.learn_temperature and self.objective == "shapley" and self.negatives != "softmax":
            raise ValueError("learn_temperature needs negatives: softmax, or objective: infonce")
        if self.learn_temperature and self.objective == "infonce" and self.temperature > 1:
            raise ValueError("learn_temperature needs a temperature of at most 1 to start from")
        return self


class FusionConfig(Section):
    """Adaptive fusion (Eq. 8-11)."""

    kind: Literal["adaptive", "cross_attention", "none"] = "adaptive"
    """`cross_attention` is the row "w/o Context in Fusion"; `none` reads no image."""
    reading: Literal["two_hop", "text_query", "coupled"] = "text_query"
    """Which reading of Eq. 11 gives one row a word."""
    gate: Literal["tanh", "sigmoid"] = "tanh"
    """Activation of the gates (Eq. 10)."""
    normalise_bridge: bool = False
    """Divide the bridging term (Eq. 8) by the context's length."""
    width: Annotated[int, Field(ge=4, le=4096)] = 256
    """Width D of the fused features."""


class ContrastConfig(Section):
    """Word-pair contrast (Eq. 17)."""

    enabled: bool = True
    """False: train and predict with Eq. 16 (row "w/o Word-pair Contrastive")."""
    base: Literal["probability", "log_probability"] = "probability"
    """First term of Eq. 17: the probability as printed, or its logarithm."""
    scale: Annotated[Number, Field(ge=0.0, le=100.0)] = 1.0
    """Refinement scale lambda."""
    detach_text: bool = False
    """Stop the gradient through the text-only distribution in the contrast."""
    auxiliary_loss: Annotated[Number, Field(ge=0.0, le=100.0)] = 0.0
    """Weight of a cross-entropy on the text-only distribution."""


class HeadConfig(Section):
    """Classifier (Eq. 12-18): CRF for MNER, word pairs for MRE and MJERE."""

    channels: Literal["all", "text"] = "all"
    """`text`: the plain baselines' head without part-of-speech and position channels."""
    hidden: Annotated[int, Field(ge=4, le=4096)] = 150
    """Width d2 of the hidden layer."""
    channel_width: Annotated[int, Field(ge=2, le=1024)] = 100
    """Width d1 of part-of-speech and position embeddings."""
    dropout: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.1
    """Dropout on the head's input and hidden layer."""
    contrast: ContrastConfig = ContrastConfig()
    """Word-pair contrast."""
    reduction: Literal["mean", "sum"] = "mean"
    """Eq. 18 averaged over valid cells, or summed and divided by the batch size."""
    none_weight: Annotated[Number, Field(gt=0.0, le=100.0)] = 1.0
    """Weight of the class None in Eq. 18."""


class OptimisationConfig(Section):
    """Training (Sec. 3.7 and 4.2)."""

    learning_rate: Annotated[Number, Field(gt=0.0, le=1.0)] = 1e-4
    """Peak learning rate of all but the encoders."""
    encoder_learning_rate: Annotated[Number, Field(gt=0.0, le=1.0)] = 5e-5
    """Peak learning rate of the encoders."""
    weight_decay: Annotated[Number, Field(ge=0.0, le=1.0)] = 0.01
    """AdamW's decay, not on biases and norms."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 28
    """Examples of one batch: the players of the alignment game."""
    accumulation: Annotated[int, Field(ge=1, le=1024)] = 1
    """Batches whose gradients are averaged before a step."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Epochs at most."""
    patience: Annotated[int, Field(ge=1, le=10_000)] = 7
    """Epochs without a better validation F1 before training stops."""
    warmup_ratio: Annotated[Number, Field(ge=0.0, lt=1.0)] = 0.05
    """Share of all steps in which the learning rate rises."""
    clip_norm: Annotated[Number, Field(gt=0.0)] | None = 1.0
    """Global norm that gradients are clipped to; null: off."""
    precision: Precision = "fp32"
    """tf32: matrix products and convolutions on CUDA; bf16: autocast of encoders, fusion and head.
    The alignment stays out of both."""
    compile: Literal["none", "inductor", "aot_eager"] = "none"
    """torch.compile's backend."""


EARLIER_DEFAULTS: dict[str, dict[str, Any]] = {
    "alignment": {
        "estimator": "cyclic", "temperature": 0.1, "negatives": "sum", "value_temperature": 0.02,
    },
}  # fmt: skip
"""Defaults that were others when the first keys were made: a key's meaning never changes."""


class ExperimentConfig(Section):
    """One configuration: all that a result depends on, except seed and data."""

    task: Task = "mner"
    """Recognition of entities, of relations between given entities, or of both."""
    data: DataConfig
    text: TextConfig = TextConfig()
    image: ImageConfig = ImageConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    fusion: FusionConfig = FusionConfig()
    head: HeadConfig = HeadConfig()
    optimisation: OptimisationConfig = OptimisationConfig()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        has_image, has_context = self.image.encoder != "none", self.data.contexts is not None
        if not has_image and self.fusion.kind != "none":
            raise ValueError(
                "fusion.kind must be none where image.encoder is none: there is no image to fuse"
            )
        if self.head.channels == "text" and self.fusion.kind != "none":
            raise ValueError("head.channels: text (the plain baseline) needs fusion.kind: none")
        if self.fusion.kind == "adaptive" and not has_context:
            raise ValueError("fusion.kind: adaptive needs data.contexts for its bridging term")
        if self.alignment.objective != "none":
            if self.alignment.bridge == "context" and not has_context:
                raise ValueError("alignment.bridge: context needs data.contexts")
            if self.alignment.bridge == "direct" and not has_image:
                raise ValueError("alignment.bridge: direct needs an image.encoder")
            if self.alignment.features == "separate":
                if self.text.encode == "separate":
                    raise ValueError("alignment.features: separate needs text.encode: joint, "
                                     "whose features are not separate already")  # fmt: skip
                if not has_context:
                    raise ValueError("alignment.features: separate needs data.contexts")
            if self.alignment.estimator == "enumerate" and self.optimisation.batch_size > 12:
                raise ValueError("alignment.estimator: enumerate needs a batch_size of at most 12")
        if self.task == "mner" and self.head.contrast != ContrastConfig():
            raise ValueError(
                "head.contrast applies to the word pairs of mre and mjere, not to mner"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
        """Read a YAML file and apply `dotted.key=value` overrides; its `runtime` part is left out.

        The name of a configuration that comes along will do as well.

        Raises:
            InputError: the file is missing, is not YAML, or a key or value is not allowed.
        """
        path = shipped.find(path, "configs")
        tree = apply_overrides(read_yaml(path), overrides)
        tree.pop("runtime", None)
        return validate(cls, tree, str(path))

    def canonical(self) -> dict[str, Any]:
        """The config as hashed: defaults omitted, no paths, so that a new field keeps old keys.

        A default that has changed since keys are made counts as it was then (`EARLIER_DEFAULTS`).

        The names of data set and context set are left out: the hashes of their content stand
        beside the config in a key. So do those of pretrained weights
        (`shapca.model.encoders.weights_fingerprints`), hence a weights' folder or file is `<path>`.
        """
        dumped = self.model_dump(mode="json", exclude_defaults=True)
        for section, earlier in EARLIER_DEFAULTS.items():
            values = {name: getattr(getattr(self, section), name) for name in earlier}
            part = {k: v for k, v in dumped.get(section, {}).items() if k not in earlier}
            dumped[section] = part | {k: v for k, v in values.items() if v != earlier[k]}
        for name in ("dataset", "contexts"):
            dumped["data"].pop(name, None)
        places = [("text", "encoder"), ("image", "weights")]
        if self.image.is_from_transformers:
            places.append(("image", "encoder"))
        for section, key in places:
            value = dumped.get(section, {}).get(key)
            if value is not None and is_local_path(value):
                dumped[section][key] = "<path>"
        return {name: part for name, part in dumped.items() if part != {}}


def is_local_path(value: str) -> bool:
    """Whether a weights' name means a place on this disk rather than a name."""
    if value in NAMES_OF_WEIGHTS:  # a folder of such a name must not change what it means
        return False
    return value.startswith((".", "/", "~")) or Path(value).expanduser().exists()
