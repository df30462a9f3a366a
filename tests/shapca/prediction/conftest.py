"""Models of each task, trained for a moment."""

from __future__ import annotations

import pytest
from transformers import BertConfig, BertModel

from shapca.config import ExperimentConfig, RuntimeConfig, Task
from shapca.data.prepared import PreparedData
from shapca.model.encoders import load_tokenizer
from shapca.prediction import Extractor
from shapca.runs.tensors import pack, unpack
from shapca.training import fit
from tests.factories import tiny_config
from tests.stores import MemoryStore

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
Datasets = dict[Task, PreparedData]


def trained_store(data: PreparedData, config: ExperimentConfig) -> MemoryStore:
    store = MemoryStore()
    fit(config, data, seed=1, runtime=RUNTIME, store=store)
    return store


@pytest.fixture(scope="package")
def stores(tiny_datasets: Datasets) -> dict[Task, MemoryStore]:
    made = {
        task: trained_store(data, tiny_config(task, **{"optimisation.epochs": epochs}))
        for (task, data), epochs in zip(tiny_datasets.items(), (6, 1, 1), strict=True)
    }
    # A table of word pairs takes long to learn: exaggerated scores find something at once.
    joint, name = made["mjere"], "best/0001.safetensors"
    weights = unpack(joint, name)
    weights["head.classifier.weight"] *= 100
    weights["head.classifier.bias"] *= 0
    joint.put(name, pack(weights))
    return made


@pytest.fixture(scope="package")
def extractors(stores: dict[Task, MemoryStore]) -> dict[Task, Extractor]:
    return {task: Extractor.load(store, runtime=RUNTIME) for task, store in stores.items()}


@pytest.fixture(scope="package")
def light_store(tiny_mner: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """A small run without pictures, whose text encoder came from a folder in joe's home."""
    folder = tmp_path_factory.mktemp("home") / "joe" / "my-bert"
    tokenizer = load_tokenizer("tiny")
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 64, "max_position_embeddings": 128}  # fmt: skip
    for part in (BertModel(BertConfig(vocab_size=len(tokenizer), **shape)), tokenizer):
        part.save_pretrained(folder)
    changes = {"text.encoder": str(folder), "image.encoder": "none", "optimisation.epochs": 1}
    return trained_store(tiny_mner, tiny_config(**changes))


@pytest.fixture(scope="package")
def light(light_store: MemoryStore) -> Extractor:
    return Extractor.load(light_store, runtime=RUNTIME)
