"""Memory that training takes on a real GPU, against what was forecast without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from orchestrator.sweeps.checks.memory import CUDA_ITSELF
from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.training.memory import memory_of_step
from tests.encoder_families import save_image_encoder, save_text_encoder
from tests.gpu.bench_cuda import batch_of, full_size, training_step
from tests.gpu.device import DEVICE, IS_CUDA, device_name, needs_device, synchronise

pytestmark = needs_device

GIB = 2**30
HEADS = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "intermediate_size": 3072}  # fmt: skip
TEXT = HEADS | {"max_position_embeddings": 514, "vocab_size": 30_000}
IMAGE = HEADS | {"image_size": 224}
CASES: list[tuple[Task, dict[str, Any]]] = [
    ("mner", {"optimisation.precision": "fp32"}),
    ("mner", {"optimisation.precision": "tf32", "alignment.estimator": "cyclic"}),
    ("mner", {"optimisation.precision": "bf16"}),
    ("mner", {"optimisation.precision": "bf16", "text.gradient_checkpointing": True}),
    ("mner", {"optimisation.precision": "bf16", "text.freeze": True}),
    ("mre", {"optimisation.precision": "bf16"}),
    ("mjere", {"optimisation.precision": "bf16"}),
    ("mner", {"optimisation.precision": "bf16", "text.encoder": "roberta"}),
    ("mner", {"optimisation.precision": "bf16", "text.encoder": "deberta-v3"}),
    ("mner", {"optimisation.precision": "bf16", "text.encoder": "modernbert"}),
    ("mner", {"optimisation.precision": "bf16", "image.encoder": "vit"}),
    ("mner", {"optimisation.precision": "bf16", "image.encoder": "clip-vision"}),
]


def saved(key: str, family: str, folder: Path) -> str:
    """A family's model, in the size that users train where there is a GPU."""
    if key == "text.encoder":
        return str(save_text_encoder(family, folder / family, **(TEXT if IS_CUDA else {})))
    return str(save_image_encoder(family, folder / family, **(IMAGE if IS_CUDA else {})))


def test_memory_against_its_forecast(
    tiny_datasets: dict[Task, PreparedData], tmp_path: Path
) -> None:
    ratios = []
    for task, changes in CASES:
        given = {key: saved(key, value, tmp_path) if key.endswith("encoder") else value
                 for key, value in changes.items()}  # fmt: skip
        config = full_size(task, **given)
        data = tiny_datasets[task]
        forecast = memory_of_step(config, data.labels, batch_of(data, config), on_cuda=True)
        taken = measured(tiny_datasets, config)
        ratios.append(forecast.peak / taken if taken else 1.0)
        print(
            f"\n{device_name()}: {task} {changes}: {taken / GIB:.2f} GiB, forecast "
            f"{forecast.peak / GIB:.2f}, {ratios[-1]:.3f} of it",
            end="",
        )
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios), ratios


def measured(datasets: dict[Task, PreparedData], config: Any) -> int:
    """Bytes at the peak of the third step; beside it, what the process takes of the card."""
    if IS_CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(DEVICE)
    model, step = training_step(datasets, config, config.optimisation.precision)
    for _ in range(3):
        step()
    synchronise()
    if not IS_CUDA:
        return 0
    peak: int = torch.cuda.max_memory_allocated(DEVICE)
    free, total = torch.cuda.mem_get_info(DEVICE)
    beside = total - free - torch.cuda.memory_reserved(DEVICE)
    held = torch.cuda.max_memory_reserved(DEVICE) - peak
    print(
        f"\n  CUDA itself {beside / GIB:.2f} GiB (counted on: {CUDA_ITSELF / GIB:.2f}), the "
        f"allocator's holes {held / GIB:.2f} GiB",
        end="",
    )
    del model, step
    return peak
