from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, Example
from shapca.data.synthetic import DOMAINS, synthesise, vocabulary
from shapca.data.synthetic.language import ENTITY_TYPES, PARTS_OF_SPEECH, RELATION_TYPES
from shapca.data.synthetic.posts import CAPTION_SETS, OPEN_TEXTS
from shapca.errors import InputError
from shapca.model.encoders import load_tokenizer

TASKS = ("mner", "mre", "mjere")
EVERY = [(task, domain) for task in TASKS for domain in DOMAINS]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], PreparedData]:
    root = tmp_path_factory.mktemp("synthetic")
    for task, domain in EVERY:
        synthesise(root / f"{task}-{domain}", task=task, domain=domain, image_size=32)  # type: ignore[arg-type]
    return {key: PreparedData.load(root / "-".join(key)) for key in EVERY}


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    small = {"num_train": 20, "num_valid": 5, "num_test": 5, "image_size": 32}
    one, same = (synthesise(tmp_path / name / "data", **small) for name in ("one", "same"))
    other_seed = synthesise(tmp_path / "seed" / "data", seed=1, **small)
    other_domain = synthesise(tmp_path / "domain" / "data", domain="festival", **small)
    assert one == same
    for other in (other_seed, other_domain):
        assert all(other.parts[part] != one.parts[part] for part in one.parts)


def test_a_larger_training_split_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    one, more = (
        synthesise(tmp_path / str(n) / "data", num_train=n, num_valid=5, num_test=5)
        for n in (10, 20)
    )
    assert one.parts["test.jsonl"] == more.parts["test.jsonl"]


@pytest.mark.parametrize("key", EVERY)
def test_posts_fit_the_task(
    made: dict[tuple[str, str], PreparedData], key: tuple[str, str]
) -> None:
    task, domain = key
    data = made[key]
    assert [len(data.splits[split]) for split in ("train", "valid", "test")] == [480, 160, 320]
    assert data.labels.entity_types == (() if task == "mre" else ENTITY_TYPES)
    assert data.labels.relation_types == (() if task == "mner" else RELATION_TYPES)
    names = set(DOMAINS[domain].open_names)
    names |= {name for known in DOMAINS[domain].known_names.values() for name in known}
    relations: Counter[str] = Counter()
    for example in data.splits["train"]:
        assert all(" ".join(example.words[e.start : e.end]) in names for e in example.entities)
        assert {example.pos[i] for e in example.entities for i in range(*e.span)} == {"PROPN"}
        relations.update(relation.type for relation in example.relations)
        assert (example.tags is not None) == (task == "mner")
        if task == "mre":
            assert len(example.relations) == 1
            assert len(example.entities) == 2
    if task != "mner":
        assert set(relations) - {NONE} == set(RELATION_TYPES)
    if task == "mre":
        assert relations[NONE] > 0
        assert any(e.relations[0].head > e.relations[0].tail for e in data.splits["train"])
        rows = Counter(example.image for example in data.splits["train"])
        assert 0.15 < sum(n for n in rows.values() if n > 1) / 480 < 0.5


def test_words_are_known_whole() -> None:
    words = vocabulary()
    tokenizer = load_tokenizer("tiny")
    assert words == sorted(set(words))
    assert all(tokenizer.tokenize(word) == [word] for word in words)
    tagged = [word for text in PARTS_OF_SPEECH.values() for word in text.split()]
    assert len(tagged) == len(set(tagged)), "a word has two parts of speech"
    used = {
        word
        for domain in DOMAINS.values()
        for texts in (
            domain.open_posts, domain.open_pairs, *domain.telling_posts.values(),
            *domain.telling_pairs.values(), *domain.asides.values(),
        )
        for text in texts
        for word in text.split()
        if "{" not in word
    }  # fmt: skip
    assert used == set(tagged)


@pytest.mark.parametrize("key", EVERY)
def test_words_of_every_post_and_caption_are_in_the_vocabulary(
    made: dict[tuple[str, str], PreparedData], key: tuple[str, str]
) -> None:
    texts = [word for example in made[key].splits["test"] for word in example.words]
    texts += [word for text in made[key].contexts("captions").values() for word in text.split()]
    assert {word.lower() for word in texts} <= set(vocabulary())


def scene(example: Example) -> str:
    """What a post's caption and picture show."""
    if example.tags is None:
        return example.relations[0].type if example.relations else NONE
    asides = {name for known in DOMAINS["street"].known_names.values() for name in known}
    (kind,) = {
        str(entity.type)
        for entity in example.entities
        if " ".join(example.words[entity.start : entity.end]) not in asides
    }
    return kind


def test_most_texts_do_not_tell_the_type(made: dict[tuple[str, str], PreparedData]) -> None:
    """An open text with its name put out occurs with every type, none prevailing."""
    seen: dict[str, Counter[str]] = {}
    for example in made["mner", "street"].splits["train"]:
        entity = next(e for e in example.entities if example.pos[e.start] == "PROPN")
        text = " ".join((*example.words[: entity.start], "_", *example.words[entity.end :]))
        text = next(
            (open_post for open_post in DOMAINS["street"].open_posts
             if text.startswith(open_post.replace("{a}", "_"))),
            "telling",
        )  # fmt: skip
        seen.setdefault(text, Counter())[scene(example)] += 1
    telling = seen.pop("telling")
    assert abs(telling.total() / 480 - (1 - OPEN_TEXTS)) < 0.06
    assert len(seen) == len(DOMAINS["street"].open_posts)
    together = sum(seen.values(), Counter())
    assert max(together.values()) < 0.32 * together.total()


@pytest.mark.parametrize("task", ["mner", "mjere"])
def test_captions_tell_the_scene_or_nothing(
    made: dict[tuple[str, str], PreparedData], task: str
) -> None:
    data = made[task, "street"]
    useless = {*DOMAINS["street"].empty_captions, ""}
    for name, share in CAPTION_SETS.items():
        captions = data.contexts(name)
        told: dict[str, set[str]] = {}
        for example in data.splits["train"]:
            caption = captions[str(example.image)]
            if caption not in useless:
                told.setdefault(caption, set()).add(scene(example))
        assert all(len(scenes) == 1 for scenes in told.values())
        num_told = sum(captions[str(e.image)] not in useless for e in data.splits["train"])
        assert abs(num_told / 480 - share) < 0.08
        assert any(text == "" for text in captions.values())


@pytest.mark.parametrize("task", ["mner", "mjere"])
def test_pictures_tell_the_scene(made: dict[tuple[str, str], PreparedData], task: str) -> None:
    """The nearest mean colour of the training pictures names the scene of a test picture."""
    data = made[task, "street"]
    store = data.image_store()
    assert store is not None

    def colors(split: str) -> tuple[np.ndarray, np.ndarray]:
        shown = [e for e in data.splits[split] if e.image in store.index]
        pixels = store.array[[store.index[str(e.image)] for e in shown]]
        return np.median(pixels, axis=(1, 2)), np.array([scene(example) for example in shown])

    train, train_scenes = colors("train")
    test, test_scenes = colors("test")
    names = sorted(set(train_scenes))
    means = np.stack([train[train_scenes == name].mean(0) for name in names])
    nearest = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert np.mean([names[i] for i in nearest] == test_scenes) > 0.97
    assert 0.05 < 1 - len(test) / 320 < 0.15, "one picture in ten is missing"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"task": "ner"}, "task 'ner': expected one of mner, mre, mjere"),
        ({"domain": "sea"}, "domain 'sea': expected one of street, festival"),
        ({"num_test": 0}, "at least one example a split"),
        ({"seed": -1}, "seed of 0 or more"),
    ],
)
def test_bad_arguments_write_nothing(
    tmp_path: Path, arguments: dict[str, object], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        synthesise(tmp_path / "data", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()
