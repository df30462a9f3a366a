"""Extraction from new text: offsets, pictures, given entities, and agreement with evaluation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel

from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.data.schema import Prediction, Relation
from shapca.errors import InputError
from shapca.evaluation.evaluate import predict_split
from shapca.metrics import direction_rule
from shapca.model.encoders import load_tokenizer
from shapca.model.heads.confidences import Confidence
from shapca.model.inputs import encode_split
from shapca.prediction import Extraction, Extractor, FoundEntity, Post
from shapca.runs.tensors import unpack
from shapca.runs.trained import TrainedModel
from shapca.storage import FolderStore
from shapca.training import fit
from tests.factories import tiny_config
from tests.shapca.prediction.conftest import RUNTIME, trained_store
from tests.stores import MemoryStore

CPU = torch.device("cpu")
Datasets = dict[Task, PreparedData]


def evaluated(store: MemoryStore, data: PreparedData, split: str) -> list[Prediction]:
    trained = TrainedModel.load(store, CPU)
    encoded = encode_split(trained.config, data, split)
    return predict_split(trained.model, encoded, trained.labels, batch_size=8, device=CPU)


def picture_files(data: PreparedData, folder: Path) -> dict[str, Path]:
    """The stored pictures as lossless files, which are squared back to the same pixels."""
    store = data.image_store()
    assert store is not None
    files = {}
    for name, row in store.index.items():
        files[name] = folder / f"{name}.png"
        Image.fromarray(np.array(store.array[row])).save(files[name])
    return files


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
def test_extraction_predicts_what_evaluation_predicts(
    extractors: dict[Task, Extractor],
    stores: dict[Task, MemoryStore],
    tiny_datasets: Datasets,
    tmp_path: Path,
    task: Task,
) -> None:
    data = tiny_datasets[task]
    files, captions = picture_files(data, tmp_path), data.contexts("captions")
    posts, wanted, examples = [], [], []
    for example, prediction in zip(
        data.splits["valid"], evaluated(stores[task], data, "valid"), strict=True
    ):
        text, places = " ".join(example.words), []
        for word in example.words:
            begin = places[-1][1] + 1 if places else 0
            places.append((begin, begin + len(word)))
        given = ()
        if task == "mre":
            pair = (example.relations[0].head, example.relations[0].tail)
            given = tuple((places[s.start][0], places[s.end - 1][1]) for s in pair)
        image = example.image or ""
        posts.append(Post(text, files.get(image), captions.get(image), given))
        wanted.append(prediction)
        examples.append(example)
    found = extractors[task].extract_many(posts)
    num_found = 0
    for post, extraction, prediction, example in zip(posts, found, wanted, examples, strict=True):
        assert tuple(word.text for word in extraction.words) == example.words
        if task == "mre":
            assert [relation.type for relation in extraction.relations] == [
                relation.type for relation in prediction.relations
            ]
            head, tail = (post.text[start:end] for start, end in post.entities)
            assert (extraction.relations[0].head.text, extraction.relations[0].tail.text) == (
                head,
                tail,
            )
            continue
        starts = {word.start: i for i, word in enumerate(extraction.words)}
        ends = {word.end: i + 1 for i, word in enumerate(extraction.words)}
        assert [(starts[e.start], ends[e.end], e.type) for e in extraction.entities] == [
            tuple(entity) for entity in prediction.entities
        ]
        assert all(post.text[e.start : e.end] == e.text for e in extraction.entities)
        assert {
            (frozenset((r.head.start, r.tail.start)), r.type) for r in extraction.relations
        } == {
            (
                frozenset(extraction.words[s.start].start for s in (r.head, r.tail)),
                r.type,
            )
            for r in prediction.relations
        }
        num_found += len(extraction.entities)
    assert task == "mre" or num_found > 0


def test_relations_point_as_in_training(
    extractors: dict[Task, Extractor], tiny_mjere: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table gives the earlier entity first; the training posts tell which one is the head."""
    rule = direction_rule(tiny_mjere.splits["train"])
    example, relation, decoded = next(
        (example, relation, decoded)
        for example in tiny_mjere.splits["train"]
        for relation in example.relations
        if relation.head > relation.tail
        for decoded in [
            Prediction(
                entities=example.entities,
                relations=(Relation(relation.tail, relation.head, relation.type),),
            )
        ]
        if rule.apply(decoded).relations == (relation,)
    )
    sure = Confidence((0.25,) * len(decoded.entities), (0.75,))
    monkeypatch.setattr(
        "shapca.prediction.extractor.predict_with_confidence", lambda *_: [(decoded, sure)]
    )
    found = extractors["mjere"].extract(" ".join(example.words))
    assert len(found.entities) == len(example.entities)
    (given,) = found.relations
    assert (given.type, given.confidence, given.head.confidence) == (relation.type, 0.75, 0.25)
    assert given.head.text == " ".join(example.words[slice(*relation.head)])
    assert given.tail.text == " ".join(example.words[slice(*relation.tail)])


def test_one_post_at_a_time_gives_the_same(extractors: dict[Task, Extractor]) -> None:
    texts = ["Kevin meets Green Hill today", "nothing here", "Paris ! Paris in spring with Anna"]
    together = extractors["mner"].extract_many([Post(text, context="a photo") for text in texts])
    alone = [extractors["mner"].extract(text, context="a photo") for text in texts]
    assert together == alone


def test_text_without_words_holds_nothing(extractors: dict[Task, Extractor]) -> None:
    found = extractors["mner"].extract_many([Post(" \n"), Post("Anna"), Post("")])
    assert found[0] == Extraction(" \n", ())
    assert found[2] == Extraction("", ())
    assert found[1].words[0].text == "Anna"
    assert extractors["mner"].extract_many([]) == []


def test_given_entities_are_answered_pair_by_pair(extractors: dict[Task, Extractor]) -> None:
    text = "Anna and Bob visit Paris"
    spans = [(0, 4), (9, 12), (19, 24)]
    found = extractors["mre"].extract(text, entities=spans)
    assert found.entities == tuple(
        FoundEntity(text[start:end], start, end, None) for start, end in spans
    )
    assert [(r.head.text, r.tail.text) for r in found.relations] == [
        ("Anna", "Bob"),
        ("Anna", "Paris"),
        ("Bob", "Paris"),
    ]
    alone = extractors["mre"].extract(text, entities=[spans[1], spans[2]])
    assert alone.relations[0].type == found.relations[2].type


def test_characters_mean_the_words_that_they_touch(extractors: dict[Task, Extractor]) -> None:
    text = "Anna-Maria and Bob"
    part = extractors["mre"].extract(text, entities=[(5, 10), (15, 18)])
    assert part.entities[0].text == "Maria"
    for wrong in ((4, 30), (-1, 3), (3, 3), (14, 15)):
        with pytest.raises(InputError, match=f"entity at characters {wrong[0]} to {wrong[1]}"):
            extractors["mre"].extract(text, entities=[wrong, (15, 18)])


def test_what_the_model_has_no_use_for_is_refused(
    extractors: dict[Task, Extractor], tiny_mner: PreparedData, tmp_path: Path
) -> None:
    text_only = Extractor.load(
        trained_store(
            tiny_mner,
            tiny_config(
                **{
                    "image.encoder": "none",
                    "data.contexts": None,
                    "alignment.objective": "none",
                    "optimisation.epochs": 1,
                }
            ),
        ),
        runtime=RUNTIME,
    )
    assert text_only.extract("Anna in Paris").words
    with pytest.raises(InputError, match="the model reads no images"):
        text_only.extract("Anna", image=tmp_path / "x.png")
    with pytest.raises(InputError, match="a context was given, but the model reads none"):
        text_only.extract("Anna", context="a photo")
    with pytest.raises(InputError, match="entities were given"):
        extractors["mner"].extract("Anna and Bob", entities=[(0, 4), (9, 12)])
    with pytest.raises(InputError, match="give two or more"):
        extractors["mre"].extract("Anna and Bob", entities=[(0, 4)])


def test_half_a_character_is_named(extractors: dict[Task, Extractor]) -> None:
    with pytest.raises(
        InputError, match=r"the text: '\\udce9' in 'caf\\udce9' is half a character"
    ):
        extractors["mner"].extract("caf\udce9")  # as a command line gives a byte of Latin-1
    with pytest.raises(InputError, match=r"the context: '\\ud83d' in .* is half a character"):
        extractors["mner"].extract("Anna", context="smile \ud83d")


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_picture_that_cannot_be_read_is_named(
    extractors: dict[Task, Extractor], tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "photo.jpg"
    if content is not None:
        file.write_bytes(content)
    expected = r"photo\.jpg: no readable picture"
    if content is None:
        expected += r" \(no such file\)$"
    with pytest.raises(InputError, match=expected):
        extractors["mner"].extract("Anna", image=file)


def test_image_and_context_enter_the_model(
    extractors: dict[Task, Extractor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from shapca.model.network import ShapCA

    seen: list[Any] = []
    original = ShapCA.predict_with_evidence

    def predict(self: ShapCA, batch: Any) -> Any:
        seen.append(batch)
        return original(self, batch)

    monkeypatch.setattr(ShapCA, "predict_with_evidence", predict)
    file = tmp_path / "photo.png"
    Image.new("RGB", (60, 50), (200, 10, 30)).save(file)
    extractors["mner"].extract("Anna", image=file, context="a red wall")
    extractors["mner"].extract("Anna")
    both, neither = seen
    assert both.image_mask.tolist() == [True]
    assert both.images[0, :, 20, 20].tolist() == [200, 10, 30]
    assert both.context_mask.sum() > 2
    assert neither.image_mask.tolist() == [False]
    assert not neither.context_mask.any()


def test_the_result_as_json(extractors: dict[Task, Extractor]) -> None:
    found = extractors["mre"].extract("Anna and Bob", entities=[(0, 4), (9, 12)])
    record = json.loads(json.dumps(found.to_json()))
    head = {"text": "Anna", "start": 0, "end": 4, "type": None, "confidence": None}
    assert record["entities"][0] == head
    assert record["relations"][0]["head"] == head
    assert record["relations"][0]["type"] == found.relations[0].type
    assert 0 < record["relations"][0]["confidence"] < 1


def test_a_pretrained_model_is_loaded_without_its_origin(
    tiny_mner: PreparedData, tmp_path: Path
) -> None:
    """Encoders from folders: the run keeps what it needs, and the folders may go."""
    text, image = tmp_path / "text", tmp_path / "image"
    tokenizer = load_tokenizer("tiny")
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32}  # fmt: skip
    BertModel(BertConfig(vocab_size=len(tokenizer), **small)).save_pretrained(text)
    tokenizer.save_pretrained(text)
    CLIPVisionModel(CLIPVisionConfig(image_size=32, patch_size=16, **small)).save_pretrained(image)
    experiment = tiny_config(
        **{
            "text.encoder": str(text),
            "image.encoder": "clip-vit-b-32",
            "image.weights": str(image),
            "image.size": 32,
            "optimisation.epochs": 1,
        }
    )
    run = tmp_path / "run"
    fit(experiment, tiny_mner, seed=1, runtime=RUNTIME, store=FolderStore(run))
    post = Post("Anna in Paris", context="a photo")
    before = Extractor.load(run, runtime=RUNTIME).extract_many([post])
    shutil.rmtree(text)
    shutil.rmtree(image)
    assert Extractor.load(run, runtime=RUNTIME).extract_many([post]) == before
    trained = TrainedModel.load(run, CPU)
    stored = unpack(FolderStore(run), "best/0001.safetensors")
    loaded = trained.model.state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(stored[name], loaded[name]) for name in stored)


def test_what_is_too_long_to_be_read_is_said(
    extractors: dict[Task, Extractor], caplog: pytest.LogCaptureFixture
) -> None:
    extractors["mner"].extract("Anna in Paris", context="a photo")
    assert not caplog.messages
    found = extractors["mner"].extract("Anna " * 100, context="a photo " * 100)
    assert len(found.words) == 100
    words, context = caplog.messages
    number = int(words.split()[0])
    assert words.endswith("are more than the model reads; nothing is found in them")
    assert 30 <= number < 100
    assert all(entity.start < 5 * (100 - number) for entity in found.entities)
    assert "context" in context


@pytest.mark.parametrize("precision", [None, "fp32", "bf16"])
def test_a_model_computes_as_it_is_asked_to(
    stores: dict[Task, MemoryStore], extractors: dict[Task, Extractor], precision: str | None
) -> None:
    text = "Frida Kahlo lives in Lisbon now"
    extractor = Extractor.load(stores["mner"], precision=precision, runtime=RUNTIME)
    computed: set[torch.dtype] = set()
    for module in extractor._trained.model.text.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda *found: computed.add(found[-1].dtype))
    found, usual = extractor.extract(text), extractors["mner"].extract(text)
    assert computed == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert (found == usual) == (precision != "bf16")
    assert [e.text for e in found.entities] == [e.text for e in usual.entities]
    for one, other in zip(found.entities, usual.entities, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=0.05)
    assert extractor.config.optimisation.precision == "fp32"


def test_a_precision_that_there_is_not_is_refused(stores: dict[Task, MemoryStore]) -> None:
    with pytest.raises(InputError, match=r"^precision 'int8': expected fp32, tf32, bf16$"):
        Extractor.load(stores["mner"], precision="int8", runtime=RUNTIME)
