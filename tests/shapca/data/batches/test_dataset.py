import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shapca.data.batches.dataset import EncodedSplit
from shapca.data.images import ImageStore
from shapca.data.preparation.image_writing import write_images
from shapca.data.prepared import PreparedData
from shapca.data.schema import Entity, Example, Labels, Relation, Span
from shapca.data.word_pair_table import decode_table
from shapca.errors import InputError
from shapca.model.encoders import load_tokenizer
from tests.oracles.batches import naive_post

TOKENIZER = load_tokenizer("tiny")
MNER = Labels("mner", ("LOC", "MISC", "ORG", "PER"))
MRE = Labels("mre", (), ("/per/org/member_of", "/per/per/peer"))


def post(*words: str, image: str | None = "a", name: str = "p", tags: str = "") -> Example:
    return Example(name, words, ("X",) * len(words), image, tuple(tags.split()) or None)


def build(examples: list[Example], labels: Labels = MNER, **arguments: object) -> EncodedSplit:
    options: dict[str, object] = {"contexts": None, "images": None, "max_length": 64}
    return EncodedSplit.build(examples, labels, TOKENIZER, **{**options, **arguments})  # type: ignore[arg-type]


def stored(folder: Path, pictures: dict[str, NDArray[np.uint8]]) -> ImageStore:
    size = next(iter(pictures.values())).shape[0]
    write_images(folder / "images.npy", folder / "images.json", pictures, size)
    return ImageStore.open(folder / "images.npy", folder / "images.json")


@pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
@pytest.mark.parametrize("encode", ["joint", "separate"])
@pytest.mark.parametrize("max_length", [8, 11, 64])
def test_batches_equal_the_naive_ones(
    tiny_datasets: dict[str, PreparedData], task: str, encode: str, max_length: int
) -> None:
    data = tiny_datasets[task]
    examples = list(data.splits["train"])
    examples[3] = dataclasses.replace(examples[3], image=None)
    contexts = data.contexts("captions")
    split = build(examples, data.labels, contexts=contexts, max_length=max_length, encode=encode)
    rows = [5, 3, 17, 0, 11]
    batch = split.collate(rows)
    assert batch.rows.tolist() == rows
    for place, row in enumerate(rows):
        image = examples[row].image
        expected = naive_post(
            examples[row],
            data.labels,
            TOKENIZER,
            "" if image is None else contexts[image],
            max_length=max_length,
            encode=encode,
        )
        for name, values in expected.items():
            padded = getattr(batch, name)[place]
            array = torch.tensor(values, dtype=padded.dtype)
            kept = tuple(slice(n) for n in array.shape)
            assert torch.equal(padded[kept], array), (name, row)
            padded[kept] = 0
            assert not padded.any(), f"{name}: padding is not 0"
        assert batch.attention_mask[place].sum() == len(expected["input_ids"])
        assert batch.word_mask[place].sum() == len(expected["word_starts"])
        assert batch.context_mask[place].sum() == len(expected["context_positions"])
        if encode == "separate":
            assert batch.context_attention_mask is not None
            mask = batch.context_attention_mask[place]
            assert mask.sum() == len(expected["context_input_ids"])
    lengths = [len(split.collate([row]).input_ids[0]) for row in range(len(examples))]
    if encode == "joint":
        assert split.lengths.tolist() == lengths
        assert max(lengths) <= max_length


def test_padding_and_batch_mates_do_not_change_a_post(tiny_mjere: PreparedData) -> None:
    split = build(
        list(tiny_mjere.splits["train"]),
        tiny_mjere.labels,
        contexts=tiny_mjere.contexts("captions"),
        images=tiny_mjere.image_store(),
        image_size=40,
    )
    together = split.collate(range(len(split)))
    for row in range(len(split)):
        alone = split.collate([row])
        for field in dataclasses.fields(alone):
            single, among = getattr(alone, field.name), getattr(together, field.name)
            if field.init and single is not None:
                kept = tuple(slice(n) for n in single[0].shape)
                assert torch.equal(single[0], among[row][kept]), field.name


def test_no_word_and_no_label_disappears() -> None:
    words = ("\ufe0f", "madison", "\u200b", "\u00a0", "\ufffd", "\u00ad", "!")
    tags = "B-PER B-PER I-PER O O O O"
    split = build([post(*words, tags=tags)])
    batch = split.collate([0])
    unknown = TOKENIZER.unk_token_id
    assert split.report.num_unknown_words == 5
    assert batch.word_mask.sum() == batch.word_starts.shape[1] == len(words)
    first = batch.input_ids[0][batch.word_starts[0]].tolist()
    assert [first[index] for index in (0, 2, 3, 4, 5)] == [unknown] * 5
    assert unknown not in (first[1], first[6])
    assert batch.tags is not None
    assert [MNER.tags[tag] for tag in batch.tags[0]] == tags.split()


def test_special_tokens_in_a_post_are_plain_text() -> None:
    split = build([post("[SEP]", "[PAD]")], contexts={"a": "[CLS] photo [SEP]"})
    ids = split.collate([0]).input_ids[0].tolist()
    assert ids.count(TOKENIZER.sep_token_id) == 2
    assert ids.count(TOKENIZER.cls_token_id) == 1
    assert TOKENIZER.pad_token_id not in ids


def test_the_context_is_cut_before_the_text() -> None:
    # 8 places: [CLS] 3 words [SEP] leave 2 for the context and its [SEP].
    split = build([post("so", "proud", "today")], contexts={"a": "a photo of a man"}, max_length=8)
    batch = split.collate([0])
    assert batch.context_mask.sum() == 2
    assert batch.word_mask.sum() == 3
    report = split.report
    assert (report.num_cut_contexts, report.num_cut_texts, report.num_empty_contexts) == (1, 0, 0)


def test_a_wholly_cut_context_counts_as_empty() -> None:
    split = build([post(*["so"] * 5)], contexts={"a": "a photo"}, max_length=8)
    batch = split.collate([0])
    assert not batch.context_mask.any()
    assert batch.input_ids.shape == (1, 7)
    assert (split.report.num_cut_contexts, split.report.num_empty_contexts) == (1, 1)


@pytest.mark.parametrize("encode", ["joint", "separate"])
def test_an_overlong_text_is_cut_and_counted(encode: str) -> None:
    split = build(
        [post(*["so"] * 9, tags="O " * 9), post("so", tags="O")], max_length=8, encode=encode
    )
    assert split.report.num_cut_texts == 1
    assert split.report.num_cut_words == 3
    batch = split.collate([0, 1])
    assert batch.word_mask.tolist() == [[True] * 6, [True] + [False] * 5]


def test_empty_and_unknown_contexts_are_counted() -> None:
    examples = [post("so", image=image, name=str(image)) for image in ("a", "b", "c", None, "d")]
    split = build(examples, contexts={"a": "a photo", "b": "", "c": " \u200b"})
    assert split.report.num_empty_contexts == 4
    assert split.collate(range(5)).context_mask.any(1).tolist() == [True] + [False] * 4


def test_a_model_of_the_text_alone_has_no_context() -> None:
    for encode in ("joint", "separate"):
        split = build([post("so", "proud")], encode=encode)
        batch = split.collate([0])
        assert split.report.num_empty_contexts == 0
        assert not batch.context_mask.any()
        assert batch.context_input_ids is None
        assert not batch.token_type_ids.any()


def test_posts_that_share_an_image_share_its_number() -> None:
    split = build([post("so", image=image, name=f"{image}") for image in ("a", "b", "a", None)])
    ids = split.image_ids
    assert ids[0] == ids[2] != ids[1]
    assert ids[3] == -1


def test_missing_pictures_are_masked_and_counted(tmp_path: Path) -> None:
    images = stored(tmp_path, {"a": np.full((16, 16, 3), 7, np.uint8)})
    examples = [post("so", image=image, name=f"post-{image}") for image in ("b", "a", None)]
    split = build(examples, images=images, image_size=16)
    batch = split.collate([0, 1, 2])
    assert split.report.num_missing_images == 2
    assert batch.image_mask.tolist() == [False, True, False]
    assert batch.images is not None
    assert batch.images.dtype == torch.uint8
    assert (batch.images[1] == 7).all()
    assert not batch.images[[0, 2]].any()
    with pytest.raises(InputError, match=r"2 of 3 posts have no readable picture.*'post-b'"):
        build(examples, images=images, image_size=16, missing_image="error")


def test_pictures_are_cropped_at_the_centre(tmp_path: Path) -> None:
    picture = np.arange(20 * 20 * 3, dtype=np.int64).reshape(20, 20, 3).astype(np.uint8)
    split = build([post("so")], images=stored(tmp_path, {"a": picture}), image_size=16)
    images = split.collate([0]).images
    assert images is not None
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), picture[2:18, 2:18])


def test_a_crop_larger_than_the_stored_picture_is_refused(tmp_path: Path) -> None:
    images = stored(tmp_path, {"a": np.zeros((16, 16, 3), np.uint8)})
    with pytest.raises(InputError, match=r"image\.size: 32 pixels.*stored with 16"):
        build([post("so")], images=images, image_size=32)


def test_augmentation_is_a_pure_function_of_seed_and_epoch(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pictures = {str(n): generator.integers(0, 256, (20, 20, 3)).astype(np.uint8) for n in range(40)}
    examples = [post("so", image=name, name=name) for name in pictures]
    split = build(examples, images=stored(tmp_path, pictures), image_size=16)
    augmentation = split.augmentation(seed=3, epoch=2)
    assert augmentation is not None
    together = split.collate(range(40), augmentation).images
    assert together is not None
    for row in range(40):
        alone = split.collate([row], split.augmentation(seed=3, epoch=2)).images
        assert alone is not None
        assert torch.equal(alone[0], together[row])
        top, left = augmentation.tops[row], augmentation.lefts[row]
        crop = pictures[str(row)][top : top + 16, left : left + 16]
        if augmentation.flips[row]:
            crop = crop[:, ::-1]
        assert np.array_equal(together[row].permute(1, 2, 0).numpy(), crop)
    assert 0 < augmentation.flips.sum() < 40
    assert set(augmentation.tops) == set(range(5))
    for other in (split.augmentation(3, 3), split.augmentation(4, 2)):
        assert other is not None
        assert not np.array_equal(other.tops, augmentation.tops)


def test_given_pairs_may_be_reversed_and_may_overlap() -> None:
    relations = [
        Relation(Span(3, 5), Span(0, 1), "/per/per/peer"),
        Relation(Span(1, 3), Span(2, 4), "/per/org/member_of"),
    ]
    examples = [
        Example(str(n), tuple("abcde"), ("X",) * 5, None, None, (), (relation,))
        for n, relation in enumerate(relations)
    ]
    batch = build(examples, MRE).collate([0, 1])
    assert batch.pair_mask is not None
    assert batch.pair_labels is not None
    assert batch.pair_mask[0].nonzero().tolist() == [[3, 0], [4, 0]]
    assert batch.pair_mask[1].nonzero().tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert batch.pair_labels[0][batch.pair_mask[0]].tolist() == [2, 2]
    assert batch.pair_labels[1][batch.pair_mask[1]].tolist() == [1] * 4
    assert batch.heads is not None
    assert batch.heads.tolist() == [[3, 5], [1, 3]]


def test_cells_of_cut_words_are_left_out() -> None:
    relation = Relation(Span(0, 1), Span(5, 8), "/per/per/peer")
    example = Example("p", ("so",) * 9, ("X",) * 9, None, None, (), (relation,))
    batch = build([example], MRE, max_length=8).collate([0])
    assert batch.pair_mask is not None
    assert batch.pair_mask[0].nonzero().tolist() == [[0, 5]]


def test_tables_decode_to_the_annotation(tiny_mjere: PreparedData) -> None:
    examples = list(tiny_mjere.splits["train"])
    batch = build(examples, tiny_mjere.labels).collate(range(len(examples)))
    assert batch.pair_labels is not None
    for example, table in zip(examples, batch.pair_labels.numpy(), strict=True):
        entities, relations = decode_table(table, tiny_mjere.labels)
        assert entities == example.entities
        unordered = {(frozenset((r.head, r.tail)), r.type) for r in relations}
        assert unordered == {(frozenset((r.head, r.tail)), r.type) for r in example.relations}


def test_posts_without_tags_make_batches_without_gold() -> None:
    assert build([post("so", "proud")]).collate([0]).tags is None


@pytest.mark.parametrize(
    ("example", "labels", "problem"),
    [
        (post("so", tags="B-DOG"), MNER, r"'p': tag 'B-DOG', expected one of O, B-LOC"),
        (post("so", "proud", tags="O"), MNER, "'p': expected one tag a word"),
        (Example("p", ("so",), (), None), MNER, "'p': expected one part of speech a word"),
        (Example("p", ("so",), ("VRB",), None), MNER, "'p': expected one part of speech a word"),
        (Example("p", ("so",), ("X",), None), MRE, "'p': expected one pair.*found 0"),
        (
            Example("p", ("a", "b"), ("X",) * 2, None, None, (),
                    (Relation(Span(0, 1), Span(1, 2), "/x"),)),
            MRE,
            "'p': relation '/x', expected one of None",
        ),
        (
            Example("p", ("a", "b"), ("X",) * 2, None, None, (Entity(0, 3, "PER"),)),
            Labels("mjere", ("PER",), ("/per/per/peer",)),
            "'p': .*outside the 2 words",
        ),
    ],
)  # fmt: skip
def test_posts_that_a_task_cannot_use_are_refused(
    example: Example, labels: Labels, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        build([example], labels)


def test_a_batch_knows_what_its_masks_hold_wherever_it_is_taken(
    tiny_mjere: PreparedData,
) -> None:
    split = build(
        list(tiny_mjere.splits["train"]),
        tiny_mjere.labels,
        contexts=tiny_mjere.contexts("captions"),
        images=tiny_mjere.image_store(),
        image_size=40,
    )
    batch = split.collate(range(8))
    assert batch.pair_mask is not None
    hidden = dataclasses.replace(
        batch,
        image_mask=batch.image_mask & (torch.arange(8) != 3),
        pair_mask=batch.pair_mask & (torch.arange(8) != 5)[:, None, None],
    )
    for given in (batch, hidden, hidden.to("cpu"), hidden.to("meta")):
        assert len(given.image_rows) == (8 if given is batch else 7)
        assert given.text_places == max(split._sequences.texts[:8]) + 2
    assert hidden.image_rows.tolist() == [0, 1, 2, 4, 5, 6, 7]
    cells = torch.zeros_like(hidden.pair_mask).flatten()
    cells[hidden.pair_cells] = True
    assert torch.equal(cells.view_as(hidden.pair_mask), hidden.pair_mask)
    assert (hidden.pair_cells.diff() > 0).all()
    assert split.collate([0]).pair_cells.device.type == "cpu"
    assert {t.device.type for t in vars(hidden.to("meta")).values() if torch.is_tensor(t)} == {
        "meta"
    }
