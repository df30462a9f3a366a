import itertools

import pytest
import torch
from torchcrf import CRF

from shapca.data.batches.batch import Batch
from shapca.data.schema import Labels
from shapca.model.heads.channels import ChannelEmbeddings, Channels
from shapca.model.heads.crf import CRFHead
from shapca.model.heads.viterbi import viterbi
from tests.head_batches import head_batch, prefix_mask, random_channels
from tests.oracles import heads as oracle

TAGS = Labels("mner", ("LOC", "PER")).tags
WORDS = (4, 1, 3)
WIDTH, CHANNEL_WIDTH, HIDDEN = 6, 3, 5


def inputs(*, alone: bool = False) -> tuple[Channels, Batch]:
    mask = prefix_mask(WORDS)
    generator = torch.Generator().manual_seed(3)
    tags = torch.randint(len(TAGS), mask.shape, generator=generator).masked_fill(~mask, 0)
    channels = random_channels(mask, WIDTH, None if alone else CHANNEL_WIDTH, scale=2.0)
    return channels, head_batch(mask, tags=tags)


def build(*, alone: bool = False, seed: int = 0) -> CRFHead:
    torch.manual_seed(seed)
    head = CRFHead(WIDTH, None if alone else CHANNEL_WIDTH, HIDDEN, TAGS, dropout=0.5).double()
    # Steps must matter beside emissions, or no test would see them.
    torch.nn.init.normal_(head.crf.transitions)
    torch.nn.init.normal_(head.crf.start_transitions)
    return head.eval()


@pytest.mark.parametrize("alone", [False, True])
def test_loss_equals_enumeration(alone):
    head, (channels, batch) = build(alone=alone), inputs(alone=alone)
    emissions = head(channels)
    losses = [
        oracle.crf_loss(head.crf, emissions[post, :n], tuple(batch.tags[post, :n].tolist()))
        for post, n in enumerate(WORDS)
    ]
    torch.testing.assert_close(head.loss(channels, batch), torch.stack(losses).mean())


@pytest.mark.parametrize("seed", range(6))
def test_decoding_is_the_best_path_that_bio_allows(seed):
    head, (channels, batch) = build(seed=seed), inputs()
    emissions = head(channels)
    decoded = head.decode(channels, batch)
    assert [len(path) for path in decoded] == list(WORDS)
    for post, path in enumerate(decoded):
        assert path == oracle.crf_best(head.crf, emissions[post, : WORDS[post]], TAGS)
        assert oracle.is_bio(tuple(TAGS[tag] for tag in path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-4, 1.0])  # whole numbers make many paths equally good
def test_paths_are_those_of_the_library(step, dtype):
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape):
        drawn = torch.randn(*shape, generator=generator, dtype=dtype)
        return (drawn / step).round() * step

    crf = CRF(len(TAGS), batch_first=True).to(dtype)
    for batch_size, num_words in ((1, 1), (1, 9), (7, 1), (40, 30)):
        for parameter in crf.parameters():
            parameter.data = numbers(*parameter.shape)
        crf.transitions.data[
            torch.rand(len(TAGS), len(TAGS), generator=generator) < 0.3
        ] = -torch.inf
        lengths = torch.randint(1, num_words + 1, (batch_size, 1), generator=generator)
        mask = torch.arange(num_words) < lengths
        emissions = numbers(batch_size, num_words, len(TAGS))
        with torch.no_grad():
            paths = viterbi(
                emissions, mask, crf.start_transitions, crf.transitions, crf.end_transitions
            )
            assert paths == crf.decode(emissions, mask)


def test_without_the_constraint_a_forbidden_path_would_win():
    head, (channels, batch) = build(), inputs()
    torch.nn.init.constant_(head.emissions.bias, 0)
    with torch.no_grad():
        head.emissions.bias[TAGS.index("I-PER")] = 50
    library = CRF(len(TAGS), batch_first=True).double()
    library.load_state_dict(head.crf.state_dict())
    free = library.decode(head(channels), channels.mask)
    assert all(TAGS[tag] == "I-PER" for path in free for tag in path)
    for path in head.decode(channels, batch):
        tags = [TAGS[tag] for tag in path]
        assert oracle.is_bio(tuple(tags))
        assert len(tags) == 1 or tags == ["B-PER", *["I-PER"] * (len(tags) - 1)]


def test_decoding_leaves_the_head_and_the_random_state_as_they_were():
    head, (channels, batch) = build(), inputs()
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    state = torch.get_rng_state()
    first = head.decode(channels, batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())
    with torch.inference_mode():
        assert head.decode(channels, batch) == first


def test_annotated_orphans_keep_a_finite_loss():
    head, (channels, batch) = build(), inputs()
    batch.tags[0, 0] = TAGS.index("I-LOC")
    assert head.loss(channels, batch).isfinite()


def test_padding_is_never_read():
    head, (channels, batch) = build(), inputs()
    loss, decoded = head.loss(channels, batch), head.decode(channels, batch)
    for channel in channels.present:
        channel[~channels.mask] = 1e3
    torch.testing.assert_close(head.loss(channels, batch), loss)
    assert head.decode(channels, batch) == decoded


@pytest.mark.parametrize("alone", [False, True])
def test_gradient_reaches_every_parameter(alone):
    head, (channels, batch) = build(alone=alone).train(), inputs(alone=alone)
    head.loss(channels, batch).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in head.parameters())


def test_bf16_autocast_stays_close():
    head, (channels, batch) = build(alone=True).float(), inputs(alone=True)
    channels = Channels(channels.text.float(), channels.mask)
    expected = head.loss(channels, batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = head.loss(channels, batch)
        assert [len(path) for path in head.decode(channels, batch)] == list(WORDS)
    assert loss.dtype == torch.float32
    assert abs(loss - expected) < 0.05 * expected


def test_a_post_without_a_word_is_refused():
    head, (channels, batch) = build(), inputs()
    channels.mask[1] = False
    with pytest.raises(ValueError, match="first timestep"):
        head.loss(channels, batch)
    with pytest.raises(ValueError, match="first timestep"):
        head.decode(channels, batch)


def test_a_batch_without_tags_is_refused():
    head, (channels, batch) = build(), inputs()
    with pytest.raises(ValueError, match="no tags"):
        head.loss(channels, head_batch(batch.word_mask))


def test_number_of_parameters_of_twitter2015():
    with torch.device("meta"):
        head = CRFHead(256, 100, 150, Labels("mner", ("LOC", "MISC", "ORG", "PER")).tags)
        embeddings = ChannelEmbeddings(20, 100)
    count = sum(p.numel() for p in itertools.chain(head.parameters(), embeddings.parameters()))
    assert count == 456 * 150 + 150 + 150 * 9 + 9 + 9 * 9 + 18 + (20 + 512) * 100


def test_channels_hold_parts_of_speech_and_absolute_positions():
    torch.manual_seed(0)
    embeddings = ChannelEmbeddings(4, 3, num_positions=5)
    text = torch.randn(2, 4, 6)
    pos = torch.tensor([[1, 2, 3, 1], [2, 0, 0, 0]])
    mask = pos > 0
    channels = embeddings(text, pos, mask)
    assert channels.text is text
    assert channels.mask is mask
    for post, word in itertools.product(range(2), range(4)):
        assert torch.equal(channels.pos[post, word], embeddings.pos.weight[pos[post, word]])
        assert torch.equal(channels.position[post, word], embeddings.position.weight[word])
    assert [part.shape[-1] for part in channels.present] == [6, 3, 3]
    assert Channels(text, mask).present == (text,)


def test_words_beyond_the_last_position_may_only_be_masked_ones():
    embeddings = ChannelEmbeddings(4, 3, num_positions=5)
    text, pos = torch.randn(1, 7, 6), torch.ones(1, 7, dtype=torch.long)
    mask = torch.arange(7)[None] < 5
    assert embeddings(text, pos, mask).position.shape == (1, 7, 3)
    with pytest.raises(ValueError, match="more than 5 encoded words"):
        embeddings(text, pos, torch.arange(7)[None] < 6)
