"""How large a model is, module by module (Table 4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from shapca.config import Task
from shapca.data.schema import Labels
from shapca.model.network import ShapCA


@dataclass(frozen=True)
class ModuleSize:
    """Parameters of one module.

    Attributes:
        name: Where it stands in the model, dotted.
        kind: Its class.
        parameters: Number of numbers.
        trainable: How many of them are trained.
    """

    name: str
    kind: str
    parameters: int
    trainable: int


@dataclass(frozen=True)
class ModelSize:
    """Parameters of a model.

    Attributes:
        modules: In the order of the forward pass; no parameter is counted twice.
    """

    modules: tuple[ModuleSize, ...]

    @property
    def parameters(self) -> int:
        """All parameters."""
        return sum(module.parameters for module in self.modules)

    @property
    def trainable(self) -> int:
        """Parameters that are trained."""
        return sum(module.trainable for module in self.modules)

    def to_json(self) -> dict[str, Any]:
        """Counts by module, and the totals."""
        return {
            "modules": [vars(module) for module in self.modules],
            "parameters": self.parameters,
            "trainable": self.trainable,
        }


def model_size(model: ShapCA) -> ModelSize:
    """Count a model's parameters; the meta device serves.

    The encoders are one line each, the text encoder's pooler, which is not trained, another;
    every other module that holds parameters of its own is a line.
    """
    pooler = getattr(model.text.bert, "pooler", None)
    read = (p for name, p in model.text.bert.named_parameters() if not name.startswith("pooler."))
    lines = [_size("text", model.text.bert, read)]
    if pooler is not None:
        lines.append(_size("text.bert.pooler", pooler, pooler.parameters()))
    if model.image is not None:
        lines.append(_size("image", model.image.backbone, model.image.backbone.parameters()))
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and not name.startswith(("text.", "image.")):
            lines.append(_size(name, module, own))
    return ModelSize(tuple(lines))


def default_labels(task: Task) -> Labels:
    """Labels of the sizes that the benchmarks have, where no data set is at hand.

    Four entity types make 9 tags (Twitter-15 and -17); MNRE has 23 relation classes with `None`,
    JMERE 4 entity types and 21 relation types.
    """
    entity_types = ("LOC", "MISC", "ORG", "PER")
    num_relations = {"mner": 0, "mre": 22, "mjere": 21}[task]
    relation_types = tuple(f"relation-{number:02d}" for number in range(1, num_relations + 1))
    return Labels(task, () if task == "mre" else entity_types, relation_types)


def _size(name: str, module: nn.Module, parameters: Iterable[nn.Parameter]) -> ModuleSize:
    counts = [(p.numel(), p.requires_grad) for p in parameters]
    return ModuleSize(
        name=name,
        kind=type(module).__name__,
        parameters=sum(number for number, _ in counts),
        trainable=sum(number for number, is_trained in counts if is_trained),
    )
