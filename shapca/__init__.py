"""Shap-CA: Shapley-value contrastive alignment for multimodal information extraction."""

__version__ = "0.1.0"
