"""Extraction from new posts with a trained model, one by one or a file of them; handing it over."""

from shapca.prediction.extraction import Extraction, FoundEntity, FoundRelation, Post, PostError
from shapca.prediction.extractor import Extractor
from shapca.prediction.model_card import About

__all__ = ["About", "Extraction", "Extractor", "FoundEntity", "FoundRelation", "Post", "PostError"]
