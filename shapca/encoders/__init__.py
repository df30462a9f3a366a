"""Text and image encoders behind one small interface each.

Names are imported when they are asked for: `weights_fingerprints` alone needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapca.encoders.image import ImageEncoder, ImageFeatures, load_image_encoder
    from shapca.encoders.text import TextEncoder, TextFeatures, load_bert
    from shapca.encoders.tokenizers import load_tokenizer
    from shapca.encoders.weights import missing_weights, weights_fingerprints

__all__ = [
    "ImageEncoder",
    "ImageFeatures",
    "TextEncoder",
    "TextFeatures",
    "load_bert",
    "load_image_encoder",
    "load_tokenizer",
    "missing_weights",
    "weights_fingerprints",
]

_PLACES = {
    "ImageEncoder": "image",
    "ImageFeatures": "image",
    "load_image_encoder": "image",
    "TextEncoder": "text",
    "TextFeatures": "text",
    "load_bert": "text",
    "load_tokenizer": "tokenizers",
    "missing_weights": "weights",
    "weights_fingerprints": "weights",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
