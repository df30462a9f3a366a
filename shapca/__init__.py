"""Shap-CA: Shapley-value contrastive alignment for multimodal information extraction.

The names of a script, imported when they are first asked for: what to train and on what
(`ExperimentConfig`, `PreparedData`), training (`fit`), scores (`evaluate_run` and the metrics), new
posts (`Extractor`, `Post`), and the alignment by itself (`shapley`, `shapley_contrastive_loss`).
"""

import os
from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from shapca import shapley as shapley
    from shapca.alignment import shapley_contrastive_loss as shapley_contrastive_loss
    from shapca.build import build_model as build_model
    from shapca.config import ExperimentConfig as ExperimentConfig
    from shapca.config import RuntimeConfig as RuntimeConfig
    from shapca.data.prepared import PreparedData as PreparedData
    from shapca.evaluation import evaluate_run as evaluate_run
    from shapca.metrics import entity_scores as entity_scores
    from shapca.metrics import joint_scores as joint_scores
    from shapca.metrics import relation_scores as relation_scores
    from shapca.prediction import Extractor as Extractor
    from shapca.prediction import Post as Post
    from shapca.storage import FolderStore as FolderStore
    from shapca.training import fit as fit

__version__ = "0.1.0"

# Read when huggingface_hub is first imported: nothing is told to a hub beside what is asked of it.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ExperimentConfig": ".config",
        "RuntimeConfig": ".config",
        "PreparedData": ".data.prepared",
        "FolderStore": ".storage",
        "build_model": ".build",
        "fit": ".training",
        "evaluate_run": ".evaluation",
        "Extractor": ".prediction",
        "Post": ".prediction",
        "shapley": ".shapley",
        "shapley_contrastive_loss": ".alignment",
        "entity_scores": ".metrics",
        "relation_scores": ".metrics",
        "joint_scores": ".metrics",
    },
)
