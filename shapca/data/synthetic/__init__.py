"""The embedded default data: short posts with drawn images and captions, deterministic by seed."""

from shapca.data.synthetic.generate import synthesise
from shapca.data.synthetic.language import DOMAINS
from shapca.data.synthetic.posts import vocabulary

__all__ = ["DOMAINS", "synthesise", "vocabulary"]
