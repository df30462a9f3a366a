"""Operations that a training step gives a GPU, counted on tensors of one that is not there.

Views are not counted. An operation is a kernel or, for some of torch's own, a few; the optimizer,
which takes all parameters in a few kernels on a real device, is left out.
"""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Generator

from shapca.config import ExperimentConfig, Task
from shapca.data.prepared import PreparedData
from shapca.model.heads.crf import CRF
from tests.factories import tiny_config
from tests.fake_cuda import DEVICE, Recorder, backward, fake_cuda, onto_device
from tests.head_batches import prefix_mask
from tests.model_cases import prepared
from tests.oracles import crf as oracle

pytestmark = pytest.mark.bench

Datasets = dict[Task, PreparedData]


def count(datasets: Datasets, config: ExperimentConfig) -> tuple[int, int]:
    """Operations of a forward and of a backward pass."""
    model, batch = prepared(datasets, config, "train", pictures=True)
    with fake_cuda() as mode:
        onto_device(model, mode)
        with Recorder() as recorder:
            loss = model(batch._map(mode.from_tensor).to(DEVICE), Generator()).loss
            forward = recorder.kernels.total()
            backward(loss)
    assert recorder.waits == recorder.to_host == []
    return forward, recorder.kernels.total() - forward


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
def test_a_training_step(tiny_datasets: Datasets, task: Task) -> None:
    whole = count(tiny_datasets, tiny_config(task))
    without = count(tiny_datasets, tiny_config(task, **{"alignment.objective": "none"}))
    plain = tiny_config(
        task,
        **{"alignment.objective": "none", "image.encoder": "none"},
        **({} if task == "mner" else {"head.contrast.enabled": False}),
    )
    text = count(tiny_datasets, plain)
    print(
        f"\n{task}, BERT of 2 layers and ResNet-18: {whole[0]} + {whole[1]} operations forward and "
        f"backward; alignment {sum(whole) - sum(without)}, text and head alone {sum(text)}"
    )
    assert sum(whole) < 1000
    assert sum(whole) - sum(without) < 350


@pytest.mark.parametrize("num_words", [20, 40, 100])
def test_the_crf(num_words: int) -> None:
    mask = prefix_mask([num_words - post % (num_words // 2) for post in range(28)])
    crf, found = CRF(9), {}
    with fake_cuda() as mode:
        onto_device(crf, mode)
        placed = mode.from_tensor(mask).to(DEVICE)
        for name, likelihood in (("word by word", oracle.log_likelihood), ("here", CRF.forward)):
            emissions = torch.randn(*mask.shape, 9, device=DEVICE, requires_grad=True)
            tags = torch.zeros(mask.shape, device=DEVICE, dtype=torch.long)
            with Recorder() as recorder, mock.patch.object(CRF, "forward", likelihood):
                backward(crf(emissions, tags, placed).mean())
            found[name] = recorder.kernels.total()
    print(f"\nCRF of up to {num_words} words: {found['word by word']} operations word by word, "
          f"{found['here']} here")  # fmt: skip
    assert found["here"] <= found["word by word"] / 4
