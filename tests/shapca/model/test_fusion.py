import itertools

import pytest
import torch
from torch import Tensor

from shapca.model.fusion import Fusion, bridging_term, masked_softmax
from tests.head_batches import prefix_mask
from tests.oracles import fusion as oracle

READINGS = ("two_hop", "text_query", "coupled")
# Posts: whole; padded words and context; no image; no context; neither.
WORDS, CONTEXT = (5, 3, 4, 1, 2), (6, 2, 3, 0, 0)
IMAGES = (True, True, False, True, False)
TEXT_WIDTH, IMAGE_WIDTH, CONTEXT_WIDTH, WIDTH, REGIONS = 6, 9, 7, 8, 4

ADAPTIVE = [
    ("adaptive", {"reading": reading, "gate": gate, "normalise_bridge": normalise})
    for reading, gate, normalise in itertools.product(READINGS, ("tanh", "sigmoid"), (False, True))
]
CROSS_ATTENTION = [("cross_attention", {"reading": reading}) for reading in READINGS]
TEXT = [("text", {})]


def build(kind, options):
    torch.manual_seed(0)
    widths = {
        "adaptive": (IMAGE_WIDTH, CONTEXT_WIDTH),
        "cross_attention": (IMAGE_WIDTH,),
        "text": (),
    }[kind]
    return Fusion(TEXT_WIDTH, WIDTH, *widths, **options).double()


def posts():
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    num_posts = len(WORDS)
    return {
        "words": normal(num_posts, max(WORDS), TEXT_WIDTH),
        "word_mask": prefix_mask(WORDS),
        "context": normal(num_posts, max(CONTEXT), CONTEXT_WIDTH),
        "context_mask": prefix_mask(CONTEXT),
        "regions": normal(num_posts, REGIONS, IMAGE_WIDTH),
        "image_mask": torch.tensor(IMAGES),
    }


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE + CROSS_ATTENTION)
def test_equals_the_equations_written_post_by_post(kind, options):
    module, batch = build(kind, options), posts()
    fused = module(**batch)
    assert fused.shape == (len(WORDS), max(WORDS), WIDTH)
    expected = oracle.fuse(module, **batch)
    for post, num_words in enumerate(WORDS):
        torch.testing.assert_close(fused[post, :num_words], expected[post])


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE + CROSS_ATTENTION + TEXT)
def test_padding_and_missing_parts_are_never_read(kind, options):
    module, batch = build(kind, options), posts()
    before = module(**batch)
    for name, mask in (("words", "word_mask"), ("context", "context_mask")):
        batch[name][~batch[mask]] = 1e3
    batch["regions"][~batch["image_mask"]] = 1e3
    after = module(**batch)
    torch.testing.assert_close(after[batch["word_mask"]], before[batch["word_mask"]])


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE + CROSS_ATTENTION + TEXT)
def test_values_and_gradients_are_finite_and_reach_every_parameter(kind, options):
    module, batch = build(kind, options), posts()
    inputs = [batch[name].requires_grad_() for name in ("words", "context", "regions")]
    fused = module(**batch)
    (fused[batch["word_mask"]] * torch.linspace(-1, 1, WIDTH)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-12, name
    for features in inputs:
        assert features.grad is None or features.grad.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE + CROSS_ATTENTION + TEXT)
def test_without_an_image_words_keep_their_projection(kind, options):
    module, batch = build(kind, options), posts()
    expected = module.norm(module.value(batch["words"]))
    missing = ~batch["image_mask"]
    assert torch.equal(module(**batch)[missing], expected[missing])
    batch["regions"] = None
    assert torch.equal(module(**batch), expected)


@pytest.mark.parametrize(("kind", "options"), ADAPTIVE)
def test_context_moves_the_adaptive_fusion(kind, options):
    module, batch = build(kind, options), posts()
    before = module(**batch)
    batch["context"] = batch["context"].flip(-1)
    moved = (module(**batch) - before).abs().amax(dim=(1, 2)) > 1e-6
    assert moved.tolist() == [
        has and length > 0 for has, length in zip(IMAGES, CONTEXT, strict=True)
    ]


@pytest.mark.parametrize(("kind", "options"), CROSS_ATTENTION + TEXT)
def test_other_fusions_do_not_read_the_context(kind, options):
    module, batch = build(kind, options), posts()
    before = module(**batch)
    batch["context"] = batch["context"].flip(-1)
    assert torch.equal(module(**batch), before)


def test_the_readings_differ():
    outputs = [build("adaptive", {"reading": reading})(**posts()) for reading in READINGS]
    for first, second in itertools.combinations(outputs, 2):
        assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("normalise", [False, True])
def test_bridging_term_is_the_mean_of_the_big_matrix(normalise):
    batch = posts()
    bridge = bridging_term(batch["context"], batch["context_mask"], normalise=normalise)
    for post, length in enumerate(CONTEXT):
        expected = oracle.bridging_term(batch["context"][post, :length], normalise=normalise)
        torch.testing.assert_close(bridge[post], expected)
    assert (bridge[3:] == 0).all()


def test_softmax_over_nothing_is_zero_with_zero_gradient():
    scores = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    weights = masked_softmax(scores, mask, dim=-1)
    assert weights[1].tolist() == [0, 0, 0]
    torch.testing.assert_close(weights[0, :2], scores[0, :2].softmax(-1))
    weights.square().sum().backward()
    assert scores.grad.isfinite().all()
    assert scores.grad[~mask].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("reading", READINGS)
def test_gradients_agree_with_finite_differences(reading):
    module, batch = build("adaptive", {"reading": reading}), posts()
    inputs = [batch.pop(name).requires_grad_() for name in ("words", "context", "regions")]
    mask = batch["word_mask"]

    def fuse(words, context, regions):
        return module(words=words, context=context, regions=regions, **batch)[mask]

    assert torch.autograd.gradcheck(fuse, inputs, fast_mode=True)


@pytest.mark.parametrize("kind", ["adaptive", "cross_attention"])
def test_bf16_autocast_stays_close(kind):
    module, batch = build(kind, {}).float(), posts()
    batch = {
        name: part.float() if part.is_floating_point() else part for name, part in batch.items()
    }
    expected = module(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        fused = module(**batch)
    fused.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    mask = batch["word_mask"]
    assert (fused.float() - expected)[mask].abs().mean() < 0.05


def test_number_of_parameters_with_bert_base_and_resnet152():
    with torch.device("meta"):
        module = Fusion(768, 256, 2048, 768)
    projections = 2048 * 256 + 3 * 768 * 256 + 2 * 512 * 256 + 6 * 256
    assert sum(p.numel() for p in module.parameters()) == projections + 2 * 256


@pytest.mark.parametrize("options", [{"reading": "three_hop"}, {"gate": "relu"}])
def test_an_unknown_option_is_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} .* is unknown"):
        Fusion(4, 4, 4, 4, **options)


def test_a_context_without_an_image_is_refused():
    with pytest.raises(ValueError, match="expected image_width"):
        Fusion(4, 4, context_width=4)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("adaptive", "query key value context query_gate.linear key_gate.linear norm"),
        ("cross_attention", "query key value norm"),
        ("text", "value norm"),
    ],
)
def test_parameters_keep_their_names_and_the_order_in_which_a_seed_draws_them(kind, layers):
    module = build(kind, {})
    names = [f"{layer}.{part}" for layer in layers.split() for part in ("weight", "bias")]
    assert list(module.state_dict()) == names
    torch.manual_seed(0)
    for layer in layers.split():
        drawn = module.get_submodule(layer)
        if isinstance(drawn, torch.nn.Linear):
            again = torch.nn.Linear(drawn.in_features, drawn.out_features).double()
            assert torch.equal(drawn.weight, again.weight)
