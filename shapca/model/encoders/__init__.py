"""Text and image encoders behind one small interface each.

Names are imported when they are asked for: `weights_fingerprints` alone needs no torch.
"""

from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from shapca.model.encoders.fingerprints import weights_fingerprints as weights_fingerprints
    from shapca.model.encoders.image import ImageEncoder as ImageEncoder
    from shapca.model.encoders.image import ImageFeatures as ImageFeatures
    from shapca.model.encoders.image import load_image_encoder as load_image_encoder
    from shapca.model.encoders.text import TextEncoder as TextEncoder
    from shapca.model.encoders.text import TextFeatures as TextFeatures
    from shapca.model.encoders.text import load_text_model as load_text_model
    from shapca.model.encoders.tokenizers import load_tokenizer as load_tokenizer
    from shapca.model.encoders.weights import missing_weights as missing_weights

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ImageEncoder": ".image",
        "ImageFeatures": ".image",
        "load_image_encoder": ".image",
        "TextEncoder": ".text",
        "TextFeatures": ".text",
        "load_text_model": ".text",
        "load_tokenizer": ".tokenizers",
        "missing_weights": ".weights",
        "weights_fingerprints": ".fingerprints",
    },
)
