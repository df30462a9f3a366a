"""The frozen configuration, the paper's rows as changes to it, and the YAML it is read from."""

from shapca.config import shipped
from shapca.config.base import NAME, Name, Number, Section
from shapca.config.files import Model, apply_overrides, read_yaml, to_yaml, validate, with_value
from shapca.config.image import ImageConfig
from shapca.config.runtime import RuntimeConfig, load_training_file
from shapca.config.sections import (
    MOST_SUBWORDS,
    NAMES_OF_WEIGHTS,
    AlignmentConfig,
    ContrastConfig,
    DataConfig,
    ExperimentConfig,
    FusionConfig,
    HeadConfig,
    OptimisationConfig,
    Precision,
    Task,
    TextConfig,
    is_local_path,
)

__all__ = [
    "AlignmentConfig",
    "ContrastConfig",
    "DataConfig",
    "ExperimentConfig",
    "FusionConfig",
    "HeadConfig",
    "ImageConfig",
    "MOST_SUBWORDS",
    "Model",
    "NAME",
    "NAMES_OF_WEIGHTS",
    "Name",
    "Number",
    "OptimisationConfig",
    "Precision",
    "RuntimeConfig",
    "Section",
    "Task",
    "TextConfig",
    "apply_overrides",
    "is_local_path",
    "load_training_file",
    "read_yaml",
    "shipped",
    "to_yaml",
    "validate",
    "with_value",
]
