"""The smallest models of image and text, built from config and saved with their processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

WORDS = (
    "a", "the", "two", "man", "woman", "dog", "cat", "red", "blue", "green", "car", "street",
    "night", "crowd", "stage", "lights", "team", "ball", "game", "sign", "near", "with", "on", "in",
)  # fmt: skip
SIDE, PATCH = 28, 14
ENDS = [2, 9, 10, 11, 12]
"""Tokens that end a text: several, so that a model that knows nothing ends some texts early."""
_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def _tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    special = ["<pad>", "<s>", "</s>", "<unk>", *special]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", additional_special_tokens=special[4:],
    )  # fmt: skip


def _save(model: Any, processor: Any, folder: Path) -> Path:
    """Save with random weights that are large enough for pictures to matter."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    model.generation_config.eos_token_id = ENDS
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_llava(folder: Path, **arguments: Any) -> Path:
    """A LLaVA of two small layers; `arguments` go to its processor."""
    tokenizer = _tokenizer(["<image>"])
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = CLIPVisionConfig(
        **small, num_hidden_layers=1, image_size=SIDE, patch_size=PATCH, projection_dim=16
    )
    text = LlamaConfig(
        **small, vocab_size=len(tokenizer), num_hidden_layers=1, num_key_value_heads=2,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, vision_feature_layer=-1,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    processor = LlavaProcessor(
        CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        **{"chat_template": _TEMPLATE, **arguments},
    )  # fmt: skip
    return _save(LlavaForConditionalGeneration(config), processor, folder)


def save_blip2(folder: Path) -> Path:
    """A BLIP-2 with OPT, of small layers."""
    tokenizer = _tokenizer(["<image>"])
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            **small, intermediate_size=16, image_size=SIDE, patch_size=PATCH
        ).to_dict(),
        qformer_config=Blip2QFormerConfig(
            **small, vocab_size=len(tokenizer), intermediate_size=16, encoder_hidden_size=16,
            cross_attention_frequency=1,
        ).to_dict(),
        text_config=OPTConfig(
            **small, vocab_size=len(tokenizer), ffn_dim=16, word_embed_proj_dim=16,
            max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ).to_dict(),
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    processor = Blip2Processor(
        BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer, num_query_tokens=4
    )
    return _save(Blip2ForConditionalGeneration(config), processor, folder)


def save_qwen2_vl(folder: Path) -> Path:
    """A Qwen2-VL of small layers: pictures of any size, hence questions of any length."""
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    special = ["<image>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(special)
    place = {name: tokenizer.convert_tokens_to_ids(name) for name in special}
    config = Qwen2VLConfig(
        vision_config={
            "depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 1,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
            "max_position_embeddings": 2048, "pad_token_id": 0, "eos_token_id": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2],
                                "rope_theta": 10000.0},
        },
        vision_start_token_id=place["<|vision_start|>"],
        vision_end_token_id=place["<|vision_end|>"],
        image_token_id=place["<|image_pad|>"],
        video_token_id=place["<|video_pad|>"],
    )  # fmt: skip
    size = {"shortest_edge": 28 * 28, "longest_edge": 84 * 84}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=size),
        tokenizer,
        Qwen2VLVideoProcessor(size=size),
        chat_template=_TEMPLATE.replace("<image>", "<|vision_start|> <|image_pad|> <|vision_end|>"),
    )
    return _save(Qwen2VLForConditionalGeneration(config), processor, folder)
