import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from shapca.data.batches.batch import Batch
from shapca.model.heads import word_pair
from shapca.model.heads.channels import Channels
from shapca.model.heads.word_pair import PairLayer, WordPairHead, contrast
from tests.head_batches import head_batch, prefix_mask, random_channels
from tests.oracles import heads as oracle

LABELS = 5
WORDS = (5, 3, 4)
WIDTH, CHANNEL_WIDTH, HIDDEN = 6, 3, 4
# Head before tail, head after tail, overlapping.
HEADS, TAILS = ((0, 2), (2, 3), (1, 3)), ((3, 5), (0, 1), (2, 4))
CONTRASTS = ("probability", "log_probability", None)


def inputs(task: str, *, alone: bool = False) -> tuple[Channels, Batch]:
    words = prefix_mask(WORDS)
    valid = words[:, :, None] & words[:, None, :]
    if task == "mjere":
        mask = valid.triu()
    else:
        mask = torch.zeros_like(valid)
        for post, (head, tail) in enumerate(zip(HEADS, TAILS, strict=True)):
            mask[post, slice(*head), slice(*tail)] = True
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(LABELS, mask.shape, generator=generator) * mask
    if task == "mre":
        labels = labels.amax(dim=(1, 2), keepdim=True) * mask
    channels = random_channels(words, WIDTH, None if alone else CHANNEL_WIDTH, scale=2.0)
    return channels, head_batch(words, pair_labels=labels, pair_mask=mask)


def masked(batch: Batch, mask: Tensor) -> Batch:
    return dataclasses.replace(batch, pair_mask=mask)


def build(task: str, *, alone: bool = False, **options) -> WordPairHead:
    torch.manual_seed(0)
    if alone:
        options = {"contrast": None, **options}
    channel_width = None if alone else CHANNEL_WIDTH
    options = {"dropout": 0.5, **options}
    return WordPairHead(WIDTH, channel_width, HIDDEN, LABELS, task=task, **options).double().eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pair_layer_equals_the_literal_concatenation(dtype):
    torch.manual_seed(0)
    layer = PairLayer(WIDTH, HIDDEN).to(dtype)
    features = torch.randn(2, 7, WIDTH, dtype=dtype, requires_grad=True)
    post, row, column = torch.ones(2, 7, 7).nonzero(as_tuple=True)
    pairs = layer(features, post * 7 + row, post * 7 + column).view(2, 7, 7, HIDDEN)
    literal = oracle.pair_layer(layer.linear, features)
    torch.testing.assert_close(pairs, literal, rtol=1e-5, atol=1e-5)
    cotangent = torch.randn_like(literal)
    wanted = [features, *layer.parameters()]
    for found, expected in zip(
        torch.autograd.grad(pairs, wanted, cotangent),
        torch.autograd.grad(literal, wanted, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cells_per_block", [1, 3, 1000])
def test_pair_layer_works_block_by_block(monkeypatch, cells_per_block):
    monkeypatch.setattr(word_pair, "CELLS_PER_BLOCK", cells_per_block)
    torch.manual_seed(0)
    layer = PairLayer(WIDTH, HIDDEN).double()
    features = torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    first, second = torch.tensor([0, 0, 2, 5, 4, 3, 0, 5]), torch.tensor([1, 1, 0, 5, 3, 4, 2, 3])

    def pairs(features, weight, bias):
        parameters = {"linear.weight": weight, "linear.bias": bias}
        return torch.func.functional_call(layer, parameters, (features, first, second))

    assert torch.autograd.gradcheck(pairs, (features, *layer.parameters()))
    literal = oracle.pair_layer(layer.linear, features)
    expected = literal[first // 3, first % 3, second % 3]
    torch.testing.assert_close(layer(features, first, second), expected)


@pytest.mark.parametrize("task", ["mre", "mjere"])
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("base", CONTRASTS)
def test_distributions_equal_the_equations(task, alone, scale, base):
    head = build(task, alone=alone, contrast=None if alone else base, contrast_scale=scale)
    channels, batch = inputs(task, alone=alone)
    final, text = head(channels, batch.pair_cells)
    expected, expected_text = oracle.word_pair_probabilities(head, channels)
    torch.testing.assert_close(final.exp(), expected[batch.pair_mask])
    assert (text is None) == (expected_text is None)
    if text is not None:
        torch.testing.assert_close(text.exp(), expected_text[batch.pair_mask])


@pytest.mark.parametrize("task", ["mre", "mjere"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("none_weight", [1.0, 0.25])
@pytest.mark.parametrize(("base", "auxiliary"), [("probability", 0.0), (None, 0.3), (None, 0.0)])
def test_loss_equals_the_sum_over_cells(task, reduction, none_weight, base, auxiliary):
    head = build(
        task,
        contrast=base,
        auxiliary_loss=auxiliary,
        reduction=reduction,
        none_weight=none_weight,
    )
    channels, batch = inputs(task)
    final, text = oracle.word_pair_probabilities(head, channels)
    options = {"none_weight": none_weight, "reduction": reduction}
    expected = oracle.cross_entropy(final, batch.pair_labels, batch.pair_mask, **options)
    if auxiliary:
        expected = expected + auxiliary * oracle.cross_entropy(
            text, batch.pair_labels, batch.pair_mask, **options
        )
    torch.testing.assert_close(head.loss(channels, batch), expected)


def test_mre_decodes_the_mean_log_probability_over_the_given_cells():
    head, (channels, batch) = build("mre"), inputs("mre")
    final, _ = oracle.word_pair_probabilities(head, channels)
    expected = []
    for post, (first, second) in enumerate(zip(HEADS, TAILS, strict=True)):
        block = final[post, slice(*first), slice(*second)].log()
        expected.append(int(block.mean(dim=(0, 1)).argmax()))
    assert head.decode(channels, batch) == expected


def test_mre_is_as_sure_as_the_mean_log_probability_says():
    head, (channels, batch) = build("mre"), inputs("mre")
    final, _ = head(channels, batch.pair_cells)
    post = batch.pair_cells // batch.pair_mask[0].numel()
    wanted = [final[post == number].mean(0).softmax(0).max().item() for number in range(3)]
    labels, sure = head.decode_with_evidence(channels, batch)
    assert labels == head.decode(channels, batch)
    assert sure == pytest.approx(wanted)
    single = batch.pair_mask.clone()
    single[0] = False
    single[0, 1, 3], single[1] = True, False
    one = masked(batch, single)
    final, _ = head(channels, one.pair_cells)
    _, sure = head.decode_with_evidence(channels, one)
    assert sure[:2] == [pytest.approx(final[0].exp().max().item()), None]  # the cell's own; no cell


def test_a_table_is_as_sure_as_its_cells():
    head, (channels, batch) = build("mjere"), inputs("mjere")
    tables, chances = head.decode_with_evidence(channels, batch)
    for ours, theirs in zip(tables, head.decode(channels, batch), strict=True):
        assert (ours == theirs).all()
    final, _ = head(channels, batch.pair_cells)
    shape = batch.pair_mask.shape
    for cell, probabilities in zip(batch.pair_cells.tolist(), final.exp(), strict=True):
        post, rest = divmod(cell, shape[1] * shape[2])
        place = divmod(rest, shape[2])
        wanted = probabilities[tables[post][place]].item()
        assert chances[post][place] == pytest.approx(wanted, rel=1e-6)
        assert wanted == probabilities.max().item()


def test_mre_is_ordered_from_head_to_tail():
    head, (channels, batch) = build("mre"), inputs("mre")
    final, _ = head(channels, batch.pair_cells)
    turned, _ = head(channels, masked(batch, batch.pair_mask.mT.contiguous()).pair_cells)
    assert (final.logsumexp(0) - turned.logsumexp(0)).abs().max() > 1e-3


def test_mjere_decodes_the_best_label_of_each_valid_cell():
    head, (channels, batch) = build("mjere"), inputs("mjere")
    final, _ = oracle.word_pair_probabilities(head, channels)
    tables = head.decode(channels, batch)
    for post, row, column in itertools.product(*map(range, batch.pair_mask.shape)):
        valid = batch.pair_mask[post, row, column]
        expected = int(final[post, row, column].argmax()) if valid else 0
        assert tables[post][row, column] == expected


@pytest.mark.parametrize("task", ["mre", "mjere"])
def test_padding_is_never_read(task):
    head, (channels, batch) = build(task), inputs(task)
    loss, (before, _) = head.loss(channels, batch), head(channels, batch.pair_cells)
    for channel in channels.present:
        channel[~channels.mask] = 1e3
    torch.testing.assert_close(head.loss(channels, batch), loss)
    torch.testing.assert_close(head(channels, batch.pair_cells)[0], before)


@pytest.mark.parametrize("task", ["mre", "mjere"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"contrast": "log_probability", "contrast_scale": 2.0},
        {"contrast": None},
        {"contrast": None, "auxiliary_loss": 0.5},
        {"detach_text": True, "auxiliary_loss": 0.5},
        {"alone": True},
        {"reduction": "sum", "none_weight": 0.1},
    ],
)
def test_gradient_reaches_every_parameter(task, options):
    head = build(task, **options).train()
    channels, batch = inputs(task, alone=options.get("alone", False))
    head.loss(channels, batch).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_detached_text_learns_from_the_auxiliary_loss_alone():
    channels, batch = inputs("mjere")
    head = build("mjere", detach_text=True)
    head.loss(channels, batch).backward()
    assert head.text_classifier.weight.grad is None
    head = build("mjere", detach_text=True, auxiliary_loss=0.7)
    head.loss(channels, batch).backward()
    plain = build("mjere")
    _, text = plain(channels, batch.pair_cells)
    gold = batch.pair_labels[batch.pair_mask]
    (0.7 * torch.nn.functional.nll_loss(text, gold)).backward()
    torch.testing.assert_close(head.text_classifier.weight.grad, plain.text_classifier.weight.grad)


def test_detaching_changes_no_value():
    channels, batch = inputs("mjere")
    losses = [build("mjere", detach_text=detach).loss(channels, batch) for detach in (False, True)]
    assert losses[0] == losses[1]


def test_without_contrast_the_text_classifier_is_absent():
    full, without = build("mjere"), build("mjere", contrast=None)
    names = {name for name, _ in full.named_parameters()}
    left = {name for name, _ in without.named_parameters()}
    assert names - left == {"text_classifier.weight", "text_classifier.bias"}
    alone = {name for name, _ in build("mjere", alone=True).named_parameters()}
    assert left - alone == {
        f"pairs.{channel}.linear.{part}" for channel in (1, 2) for part in ("weight", "bias")
    }


@pytest.mark.parametrize("base", ["probability", "log_probability"])
def test_contrast_is_stable_for_extreme_distributions(base):
    scores = torch.tensor([[300.0, 0.0, -300.0], [0.0, 0.0, 0.0]], requires_grad=True)
    text = scores.detach().flip(-1).requires_grad_()
    final = contrast(scores.log_softmax(-1), text.log_softmax(-1), base=base)
    torch.testing.assert_close(final.exp().sum(-1), torch.ones(2))
    final[:, 0].sum().backward()
    assert scores.grad.isfinite().all()
    assert text.grad.isfinite().all()


def test_contrast_prefers_what_the_text_does_not_say():
    joint = torch.tensor([0.4, 0.35, 0.25]).log()
    text = torch.tensor([0.8, 0.1, 0.1]).log()
    assert joint.argmax() == 0
    assert contrast(joint, text).argmax() == 1
    # Of no difference between the two, a softmax of the probabilities is left.
    torch.testing.assert_close(contrast(joint, joint), joint.exp().log_softmax(-1))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_without_a_cell_costs_nothing(reduction):
    head, (channels, batch) = build("mre", reduction=reduction), inputs("mre")
    batch = masked(batch, torch.zeros_like(batch.pair_mask))
    loss = head.loss(channels, batch)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or not p.grad.any() for p in head.parameters())
    assert head.decode(channels, batch) == [0, 0, 0]


def test_a_post_whose_entity_was_cut_gets_none_and_the_others_their_relation():
    head, (channels, batch) = build("mre"), inputs("mre")
    with torch.no_grad():
        head.classifier.bias[3] += 100
    assert head.decode(channels, batch) == [3, 3, 3]
    posts = torch.tensor([True, False, True])[:, None, None]
    assert head.decode(channels, masked(batch, batch.pair_mask & posts)) == [3, 0, 3]


def test_bf16_autocast_stays_close():
    head, (channels, batch) = build("mjere", dropout=0.0).float(), inputs("mjere")
    channels = Channels(
        channels.text.float(), channels.mask, channels.pos.float(), channels.position.float()
    )
    expected = head.loss(channels, batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(channels, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert math.isclose(loss.item(), expected.item(), rel_tol=0.05)
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "mner"}, "task 'mner' is unknown"),
        ({"contrast": "odds"}, "contrast 'odds' is unknown"),
        ({"reduction": "max"}, "reduction 'max' is unknown"),
        ({"channel_width": None}, "nothing to be contrasted with"),
    ],
)
def test_an_unknown_option_is_refused(options, message):
    arguments = {"channel_width": CHANNEL_WIDTH, "task": "mre", **options}
    with pytest.raises(ValueError, match=message):
        WordPairHead(WIDTH, hidden=HIDDEN, num_labels=LABELS, **arguments)


def test_a_batch_without_gold_or_mask_is_refused():
    head, (channels, batch) = build("mre"), inputs("mre")
    with pytest.raises(ValueError, match="no labels"):
        head.loss(channels, head_batch(batch.word_mask))
    with pytest.raises(ValueError, match="no mask"):
        head.decode(channels, head_batch(batch.word_mask))
