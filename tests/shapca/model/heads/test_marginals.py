import itertools

import pytest
import torch

from shapca.data.schema import Entity, Example, Labels, Prediction
from shapca.model.heads.confidences import to_confidences
from shapca.model.heads.crf import CRFHead
from shapca.model.heads.predictions import to_predictions
from tests.head_batches import head_batch, prefix_mask, random_channels
from tests.oracles import heads as oracle

LABELS = Labels("mner", ("LOC", "PER"))
WORDS = (4, 1, 3)


@pytest.mark.parametrize("seed", range(2))
def test_the_probability_of_an_entity_equals_enumeration(seed):
    torch.manual_seed(seed)
    head = CRFHead(6, 3, 5, LABELS.tags).double().eval()
    for parameter in head.crf.parameters():
        torch.nn.init.normal_(parameter)
    mask = prefix_mask(WORDS)
    channels, batch = random_channels(mask, 6, 3, scale=2.0, seed=seed), head_batch(mask)
    emissions = head(channels)
    decoded, paths = head.decode_with_evidence(channels, batch)
    assert decoded == head.decode(channels, batch)
    seen = set()
    for post, num_words in enumerate(WORDS):
        for start, end in itertools.combinations(range(num_words + 1), 2):
            for kind in LABELS.entity_types:
                entity = Entity(start, end, kind)
                tags = [f"B-{kind}", *(end - start - 1) * [f"I-{kind}"]]
                ids = [0] * start + [LABELS.tags.index(tag) for tag in tags]
                (sure,) = to_confidences(
                    [paths[post]], [ids], [Prediction(entities=(entity,))], LABELS
                )
                wanted = oracle.crf_entity(
                    head.crf, emissions[post, :num_words], LABELS.tags, entity
                )
                assert sure.entities == (pytest.approx(wanted, rel=1e-9),)
                assert sure.relations == ()
                seen.add(round(wanted, 6))
    assert len(seen) > 20


def test_long_posts_and_steep_scores_stay_numbers():
    torch.manual_seed(0)
    head = CRFHead(6, 3, 5, LABELS.tags).eval()
    mask = prefix_mask((300, 2))
    channels = random_channels(mask, 6, 3, scale=3000.0)
    channels = type(channels)(
        channels.text.float(), mask, channels.pos.float(), channels.position.float()
    )
    decoded, paths = head.decode_with_evidence(channels, head_batch(mask))
    posts = [Example(str(number), ("word",) * 300) for number in range(2)]
    predictions = to_predictions(decoded, posts, LABELS)
    sure = to_confidences(paths, decoded, predictions, LABELS)
    values = [value for post in sure for value in post.entities]
    assert len(values) > 50
    assert all(0 < value <= 1 for value in values)
    assert sorted(values)[len(values) // 4] > 0.99  # where the best path outweighs all others
