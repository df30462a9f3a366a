"""From a configuration to modules: the only place where model config is read."""

from __future__ import annotations

import torch

from shapca.alignment import ContrastiveAlignment
from shapca.config import ExperimentConfig
from shapca.data.schema import POS_TAGS, Labels
from shapca.errors import InputError
from shapca.model.encoders.image import ImageEncoder, load_image_encoder
from shapca.model.encoders.processing import image_size
from shapca.model.encoders.text import TextEncoder, load_text_model, num_positions
from shapca.model.fusion import Fusion
from shapca.model.heads.channels import NUM_POSITIONS, ChannelEmbeddings
from shapca.model.heads.crf import CRFHead
from shapca.model.heads.word_pair import WordPairHead
from shapca.model.network import ShapCA


def build_model(
    config: ExperimentConfig,
    labels: Labels,
    *,
    device: torch.device | str | None = None,
    pretrained: bool = True,
) -> ShapCA:
    """Build the model of a configuration, in training mode.

    What is not pretrained is drawn from torch's global generator.

    Args:
        config: The experiment.
        labels: Label sets of its data.
        device: Where the model shall be; `None`: the CPU.
        pretrained: Read pretrained weights; false where trained weights are loaded next, so that
            only the architecture is needed.

    Raises:
        InputError: parts that do not fit together, or pretrained weights that cannot be had.
    """
    _check(config, labels)
    text = TextEncoder(
        load_text_model(config.text.encoder, pretrained=pretrained),
        encode=config.text.encode,
        pool=config.text.pool,
        freeze=config.text.freeze,
        gradient_checkpointing=config.text.gradient_checkpointing,
    )
    most = num_positions(text.bert)
    if most is not None and config.text.max_length > most:
        raise InputError(
            f"text.max_length: {config.text.encoder} reads at most {most} sub-words, "
            f"got {config.text.max_length}"
        )
    image = _image(config, pretrained)
    fusion = _fusion(config, text.width, image)
    model = ShapCA(
        text=text,
        image=image,
        alignment=_alignment(config, text.width, image),
        fusion=fusion,
        channels=(
            ChannelEmbeddings(
                len(POS_TAGS),
                config.head.channel_width,
                num_positions=max(NUM_POSITIONS, config.text.max_length),
            )
            if config.head.channels == "all"
            else None
        ),
        head=_head(config, labels, text.width if fusion is None else fusion.width),
        separate_features=config.alignment.features == "separate",
        alpha=config.alignment.alpha,
        beta=config.alignment.beta,
    )
    return model.train() if device is None else model.train().to(device)


def build_on_meta(config: ExperimentConfig, labels: Labels) -> ShapCA:
    """Build the architecture of a configuration without weights or memory.

    Raises:
        InputError: parts that do not fit together.
    """
    with torch.device("meta"):
        return build_model(config, labels, pretrained=False)


def _check(config: ExperimentConfig, labels: Labels) -> None:
    if labels.task != config.task:
        raise InputError(f"task: {config.task}, but the data set serves {labels.task}")
    if (
        config.image.encoder != "none"
        and config.fusion.kind == "none"
        and config.alignment.objective == "none"
    ):
        raise InputError(
            f"image.encoder: {config.image.encoder} is read by neither fusion nor alignment, "
            "which are both none; set image.encoder to none"
        )
    contrast = config.head.contrast
    if (
        config.task != "mner"
        and config.head.channels == "text"
        and (contrast.enabled or contrast.auxiliary_loss > 0)
    ):
        raise InputError(
            "head.contrast: the text channel alone has nothing to be contrasted with; "
            "head.channels: text needs head.contrast.enabled: false and no auxiliary_loss"
        )


def _image(config: ExperimentConfig, pretrained: bool) -> ImageEncoder | None:
    if config.image.encoder == "none":
        return None
    return load_image_encoder(
        config.image.encoder,
        config.image.weights,
        size=image_size(config.image),
        freeze=config.image.freeze,
        gradient_checkpointing=config.image.gradient_checkpointing,
        pretrained=pretrained,
    )


def _alignment(
    config: ExperimentConfig, text_width: int, image: ImageEncoder | None
) -> ContrastiveAlignment | None:
    if config.alignment.objective == "none":
        return None
    return ContrastiveAlignment(
        text_width,
        None if image is None else image.width,
        objective=config.alignment.objective,
        estimator=config.alignment.estimator,
        num_permutations=config.alignment.num_permutations,
        temperature=config.alignment.temperature,
        negatives=config.alignment.negatives,
        value_temperature=config.alignment.value_temperature,
        learn_temperature=config.alignment.learn_temperature,
        mask_duplicates=config.alignment.mask_duplicates,
        bridge=config.alignment.bridge,
    )


def _fusion(config: ExperimentConfig, text_width: int, image: ImageEncoder | None) -> Fusion | None:
    fusion = config.fusion
    if fusion.kind == "none":
        # The plain baselines read the encoder's own features.
        return None if config.head.channels == "text" else Fusion(text_width, fusion.width)
    assert image is not None, "the config refuses fusion without an image"
    return Fusion(
        text_width,
        fusion.width,
        image.width,
        text_width if fusion.kind == "adaptive" else None,
        reading=fusion.reading,
        gate=fusion.gate,
        normalise_bridge=fusion.normalise_bridge,
    )


def _head(config: ExperimentConfig, labels: Labels, width: int) -> CRFHead | WordPairHead:
    head, contrast = config.head, config.head.contrast
    channel_width = head.channel_width if head.channels == "all" else None
    if config.task == "mner":
        return CRFHead(width, channel_width, head.hidden, labels.tags, dropout=head.dropout)
    return WordPairHead(
        width,
        channel_width,
        head.hidden,
        labels.num_outputs,
        task=config.task,
        dropout=head.dropout,
        contrast=contrast.base if contrast.enabled else None,
        contrast_scale=contrast.scale,
        detach_text=contrast.detach_text,
        auxiliary_loss=contrast.auxiliary_loss,
        reduction=head.reduction,
        none_weight=head.none_weight,
    )
