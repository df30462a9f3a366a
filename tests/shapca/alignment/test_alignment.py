"""Contrastive losses and the module that computes them for a batch."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shapca import shapley
from shapca.alignment import (
    AlignmentLosses,
    ContrastiveAlignment,
    infonce_loss,
    shapley_contrastive_loss,
)
from shapca.alignment.contrastive import VALUE_TEMPERATURE, Negatives
from tests.oracles.shapley import (
    algorithm_1,
    contrastive_loss,
    softmax_loss,
    values_by_definition,
)

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = list(shapley.ESTIMATORS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cosines(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64) * 2 - 1


def perfect() -> Tensor:
    """28 pairs that agree, and are as far from each other as 28 directions can be."""
    return torch.eye(28, dtype=torch.float64) * (1 + 1 / 27) - 1 / 27


def loss_of_values(values: Tensor, negatives: str) -> Tensor:
    if negatives == "softmax":
        return softmax_loss(values, VALUE_TEMPERATURE)
    return contrastive_loss(values, negatives)


# The Shapley loss


@pytest.mark.parametrize("negatives", get_args(Negatives))
@pytest.mark.parametrize("num_players", [2, 3, 6])
def test_the_loss_is_equation_5_of_the_values_by_definition(
    negatives: Any, num_players: int
) -> None:
    similarity = cosines(num_players, num_players)
    values = torch.tensor(
        [values_by_definition(row, 0.1) for row in similarity.tolist()], dtype=torch.float64
    )
    expected = loss_of_values(values, negatives)
    for name in ("exact", "enumerate"):
        found = shapley_contrastive_loss(similarity, 0.1, name, negatives)
        tolerance = 3e-6 / VALUE_TEMPERATURE if negatives == "softmax" else 3e-6
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("negatives", get_args(Negatives))
def test_the_sampled_loss_and_its_gradient_are_those_of_algorithm_1(negatives: Any) -> None:
    similarity = cosines(7, 7).requires_grad_()
    permutation = torch.rand(1, 7, generator=seeded(3), dtype=torch.float64).argsort(-1)[0]
    found = shapley_contrastive_loss(similarity, 0.1, "cyclic", negatives, generator=seeded(3))
    expected = loss_of_values(algorithm_1(similarity, 0.1, permutation.tolist()), negatives)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    gradients = [torch.autograd.grad(loss, similarity)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-11, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_is_given_by_name_or_itself(name: str) -> None:
    similarity = cosines(5, 5)
    by_name, itself = (
        shapley_contrastive_loss(similarity, 0.1, estimator, generator=seeded())
        for estimator in (name, shapley.ESTIMATORS[name])
    )
    assert torch.equal(by_name, itself)


@pytest.mark.parametrize("temperature", [0.005, 0.1, 0.35, 10.0])
def test_collapse_at_28_players(temperature: float) -> None:
    similarity = -torch.ones(28, 28, dtype=torch.float64)
    for name in ("cyclic", "exact"):
        loss = shapley_contrastive_loss(similarity, temperature, name, "sum")
        assert loss.item() == pytest.approx(-1 + 2 / 28, abs=2e-6)
        assert loss.item() == pytest.approx(-0.929, abs=5e-4)


@pytest.mark.parametrize(("temperature", "expected"), [(0.3, -0.978), (0.4, -0.835), (0.5, -0.717)])
def test_perfect_alignment_loses_to_collapse_at_a_high_temperature(
    temperature: float, expected: float
) -> None:
    loss = shapley_contrastive_loss(perfect(), temperature, "exact", "sum")
    assert loss.item() == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("negatives", ["mean", "softmax"])
@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0])
def test_other_negatives_prefer_alignment_to_collapse(negatives: Any, temperature: float) -> None:
    aligned, collapsed = (
        shapley_contrastive_loss(similarity, temperature, "exact", negatives)
        for similarity in (perfect(), -torch.ones_like(perfect()))
    )
    assert aligned < collapsed


def test_a_common_rise_under_sum() -> None:
    similarity = cosines(28, 28) * 0.5
    low, high = (
        shapley_contrastive_loss(similarity + rise, 0.1, "exact", "sum") for rise in (0.0, 0.25)
    )
    assert (high - low).item() == pytest.approx(0.25 * (1 - 2 / 28), abs=1e-5)


@pytest.mark.parametrize("name", [*NAMES, "infonce"])
@pytest.mark.parametrize("negatives", get_args(Negatives))
@pytest.mark.parametrize("masked_duplicates", [False, True])
@pytest.mark.parametrize(
    ("num_players", "present"), [(1, None), (5, []), (5, [3]), (5, [1, 3]), (5, [0, 1, 2, 3, 4])]
)
def test_fewer_than_two_present_give_zero_with_a_zero_gradient(
    name: str,
    negatives: Any,
    masked_duplicates: bool,
    num_players: int,
    present: list[int] | None,
) -> None:
    similarity = cosines(num_players, num_players).requires_grad_()
    mask = duplicates = None
    if present is not None:
        mask = torch.zeros(num_players, dtype=torch.bool)
        mask[present] = True
    if masked_duplicates:
        duplicates = ~torch.eye(num_players, dtype=torch.bool)
    if name == "infonce":
        loss = infonce_loss(similarity, 0.1, mask=mask, duplicates=duplicates)
    else:
        loss = shapley_contrastive_loss(
            similarity, 0.1, name, negatives, mask=mask, duplicates=duplicates, generator=seeded()
        )
    (gradient,) = torch.autograd.grad(loss, similarity)
    assert loss.shape == ()
    assert loss.isfinite()
    assert gradient.isfinite().all()
    few = present is None or len(present) < 2
    no_negatives = masked_duplicates and (name == "infonce" or negatives == "softmax")
    if few or no_negatives:
        assert loss == 0
        assert (gradient == 0).all()
    else:
        assert loss != 0
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", ["exact", "enumerate", "infonce"])
@pytest.mark.parametrize("negatives", get_args(Negatives))
def test_masked_posts_leave_the_loss_of_the_others(name: str, negatives: Any) -> None:
    similarity = cosines(3, 8, 8)
    kept = torch.tensor([0, 2, 3, 6])
    mask = torch.zeros(8, dtype=torch.bool)
    mask[kept] = True
    selected = similarity[:, kept][:, :, kept]
    if name == "infonce":
        found, expected = infonce_loss(similarity, 0.1, mask=mask), infonce_loss(selected, 0.1)
    else:
        found = shapley_contrastive_loss(similarity, 0.1, name, negatives, mask=mask)
        expected = shapley_contrastive_loss(selected, 0.1, name, negatives)
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=0)


@pytest.mark.parametrize("name", ["cyclic", "exact"])
def test_duplicates_leave_the_sum_but_not_the_game(name: str) -> None:
    similarity = cosines(5, 5)
    duplicates = torch.zeros(5, 5, dtype=torch.bool)
    duplicates[1, 4] = duplicates[4, 1] = duplicates[1, 2] = True
    plain = shapley_contrastive_loss(similarity, 0.1, name, "sum", generator=seeded(1))
    found = shapley_contrastive_loss(
        similarity, 0.1, name, "sum", duplicates=duplicates, generator=seeded(1)
    )
    values = shapley.ESTIMATORS[name](similarity[None], 0.1, generator=seeded(1))[0]
    expected = plain - values[duplicates].sum() / 5
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)

    found = shapley_contrastive_loss(
        similarity, 0.1, name, "mean", duplicates=duplicates, generator=seeded(1)
    )
    negative = values.masked_fill(duplicates | torch.eye(5, dtype=torch.bool), 0.0).sum(-1)
    num_negatives = torch.tensor([4, 2, 4, 4, 3])
    expected = (negative / num_negatives - values.diagonal()).mean()
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


DUPLICATES = ((1, 4), (4, 1), (1, 2))


def duplicates_of(num_posts: int) -> Tensor:
    found = torch.zeros(num_posts, num_posts, dtype=torch.bool)
    found[tuple(zip(*DUPLICATES, strict=True))] = True
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("present", [None, (0, 1, 2, 4), (1, 3)])
@pytest.mark.parametrize("masked_duplicates", [False, True])
def test_softmax_is_the_cross_entropy_of_the_values(
    name: str, present: tuple[int, ...] | None, masked_duplicates: bool
) -> None:
    similarity = cosines(5, 5)
    mask = None
    if present is not None:
        mask = torch.zeros(5, dtype=torch.bool)
        mask[list(present)] = True
    found = shapley_contrastive_loss(
        similarity, 0.1, name, "softmax", value_temperature=0.05, mask=mask,
        duplicates=duplicates_of(5) if masked_duplicates else None, generator=seeded(1),
    )  # fmt: skip
    values = shapley.ESTIMATORS[name](similarity[None], 0.1, player_mask=mask, generator=seeded(1))[
        0
    ]
    if present is None:  # a player alone is worth its similarity, and all add up to u(K)
        total = (torch.softmax(similarity / 0.1, -1) * similarity).sum(-1)
        torch.testing.assert_close(values.sum(-1), total, atol=1e-5, rtol=0)
    expected = softmax_loss(values, 0.05, present, DUPLICATES if masked_duplicates else ())
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("negatives", get_args(Negatives))
def test_gradients_agree_with_finite_differences(name: str, masked: bool, negatives: Any) -> None:
    mask = torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool) if masked else None
    estimator = partial(shapley.exact, tolerance=1e-12) if name == "exact" else name

    def loss(similarity: Tensor, temperature: Tensor) -> Tensor:
        return shapley_contrastive_loss(
            similarity, 0.2, estimator, negatives, value_temperature=temperature, mask=mask,
            duplicates=duplicates_of(5) if masked else None, generator=seeded(2),
        )  # fmt: skip

    temperature = torch.tensor(0.05, dtype=torch.float64, requires_grad=negatives == "softmax")
    inputs = (cosines(5, 5).requires_grad_(), temperature)
    assert torch.autograd.gradcheck(loss, inputs, atol=1e-5, rtol=1e-4)


def test_infonce_learns_its_temperature_by_the_true_gradient() -> None:
    temperature = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, t: infonce_loss(s, t, duplicates=duplicates_of(5)),
        (cosines(5, 5).requires_grad_(), temperature),
    )


def test_the_diagonal_is_never_a_duplicate() -> None:
    similarity = cosines(4, 4)
    everything = torch.ones(4, 4, dtype=torch.bool)
    others = ~torch.eye(4, dtype=torch.bool)
    for loss in (infonce_loss, shapley_contrastive_loss):
        found, expected = (
            loss(similarity, 0.1, duplicates=duplicates, **generator)
            for duplicates in (everything, others)
            for generator in [{} if loss is infonce_loss else {"generator": seeded()}]
        )
        torch.testing.assert_close(found, expected)


def test_one_loss_for_each_matrix() -> None:
    similarity = cosines(2, 3, 6, 6)
    for name in ("exact", "infonce"):
        found, alone = (
            infonce_loss(x, 0.1) if name == "infonce" else shapley_contrastive_loss(x, 0.1, name)
            for x in (similarity, similarity[1, 2])
        )
        assert found.shape == (2, 3)
        torch.testing.assert_close(found[1, 2], alone, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negatives": "max"}, "negatives: expected sum, mean or softmax, got 'max'"),
        ({"estimator": "guess"}, "estimator: expected one of"),
        ({"similarity": torch.zeros(3, 4)}, r"expected \(..., k, k\), got shape \(3, 4\)"),
        ({"temperature": 0.0}, "temperature"),
        ({"mask": torch.ones(3)}, "mask: expected booleans"),
        ({"duplicates": torch.ones(3, 3, dtype=torch.bool)}, r"duplicates: .* 4, 4\)"),
    ],
)
def test_what_is_not_allowed_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shapley_contrastive_loss(
            **({"similarity": torch.zeros(4, 4), "temperature": 0.1} | arguments)
        )


def test_infonce_is_the_cross_entropy_of_the_positive_pair() -> None:
    similarity = cosines(6, 6)
    expected = functional.cross_entropy(similarity / 0.07, torch.arange(6))
    torch.testing.assert_close(infonce_loss(similarity, 0.07), expected)
    with pytest.raises(ValueError, match="temperature: expected above 0"):
        infonce_loss(similarity, 0.0)


# The module

SOFTMAX = {"negatives": "softmax", "learn_temperature": True}
B, H, HV = 6, 8, 5


def batch(**changes: Any) -> dict[str, Any]:
    features = {
        name: torch.randn(B, width, generator=seeded(seed))
        for seed, (name, width) in enumerate({"x_t": H, "x_c": H, "x_v": HV}.items())
    }
    masks = {
        "context_mask": torch.tensor([1, 1, 1, 0, 1, 1], dtype=torch.bool),
        "image_mask": torch.tensor([1, 0, 1, 1, 1, 1], dtype=torch.bool),
        "image_ids": torch.tensor([3, -1, 5, 7, 5, -1]),
    }
    return features | masks | changes


def alignment(**arguments: Any) -> ContrastiveAlignment:
    torch.manual_seed(0)
    as_printed = {"negatives": "sum", "estimator": "cyclic", "temperature": 0.1}
    return ContrastiveAlignment(H, arguments.pop("image_width", HV), **as_printed | arguments)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    return functional.cosine_similarity(left[:, None], right[None], dim=-1)


@pytest.mark.parametrize("objective", ["shapley", "infonce"])
@pytest.mark.parametrize("mask_duplicates", [False, True])
def test_the_four_directions(objective: Any, mask_duplicates: bool) -> None:
    module = alignment(
        objective=objective,
        estimator="exact",
        temperature=0.2,
        negatives="mean",
        mask_duplicates=mask_duplicates,
    )
    inputs = batch()
    found = module(**inputs, generator=seeded())

    def loss(targets: Tensor, players: Tensor, rows: Tensor) -> Tensor:
        similarity = cosine(targets[rows], players[rows])
        same = None
        if mask_duplicates:
            ids = inputs["image_ids"][rows]
            same = (ids[:, None] == ids) & (ids >= 0) & ~torch.eye(len(rows), dtype=torch.bool)
        if objective == "infonce":
            return infonce_loss(similarity, 0.2, duplicates=same)
        return shapley_contrastive_loss(similarity, 0.2, "exact", "mean", duplicates=same)

    texts, contexts = inputs["x_t"], inputs["x_c"]
    images = module.projection(inputs["x_v"])
    has_context = inputs["context_mask"].nonzero()[:, 0]
    has_both = (inputs["context_mask"] & inputs["image_mask"]).nonzero()[:, 0]
    semantic = (loss(texts, contexts, has_context) + loss(contexts, texts, has_context)) / 2
    modality = (loss(images, contexts, has_both) + loss(contexts, images, has_both)) / 2
    torch.testing.assert_close(found.semantic, semantic, atol=3e-6, rtol=0)
    torch.testing.assert_close(found.modality, modality, atol=3e-6, rtol=0)

    pairs = [(texts, contexts, has_context), (images, contexts, has_both)]
    similarities = [cosine(left[rows], right[rows]) for left, right, rows in pairs]
    positive = torch.cat([matrix.diagonal() for matrix in similarities])
    negative = torch.cat(
        [matrix[~torch.eye(len(matrix), dtype=torch.bool)] for matrix in similarities]
    )
    torch.testing.assert_close(found.positive_similarity, positive.mean())
    torch.testing.assert_close(found.negative_similarity, negative.mean())
    assert not found.positive_similarity.requires_grad


def test_no_bridge_aligns_texts_with_images_alone() -> None:
    inputs = batch()
    module = alignment(bridge="direct", estimator="exact")
    found = module(**inputs)
    rows = inputs["image_mask"].nonzero()[:, 0]
    similarity = cosine(inputs["x_t"][rows], module.projection(inputs["x_v"])[rows])
    expected = (
        shapley_contrastive_loss(similarity, 0.1, "exact", "sum")
        + shapley_contrastive_loss(similarity.mT, 0.1, "exact", "sum")
    ) / 2
    torch.testing.assert_close(found.modality, expected, atol=3e-6, rtol=0)
    assert found.semantic == 0
    assert not found.semantic.requires_grad
    other = module(**batch(x_c=None, context_mask=torch.zeros(B, dtype=torch.bool)))
    torch.testing.assert_close(other.modality, found.modality, atol=0, rtol=0)


def test_a_model_without_images_has_the_semantic_loss_alone() -> None:
    module = alignment(image_width=None, estimator="exact")
    assert list(module.parameters()) == []
    with_images = alignment(estimator="exact")(**batch())
    found = module(**batch(x_v=None))
    torch.testing.assert_close(found.semantic, with_images.semantic, atol=1e-6, rtol=0)
    assert found.modality == 0


def gradients(module: ContrastiveAlignment, inputs: dict[str, Any]) -> dict[str, Tensor]:
    for name in ("x_t", "x_c", "x_v"):
        inputs[name] = inputs[name].clone().requires_grad_()
    losses: AlignmentLosses = module(**inputs, generator=seeded())
    module.zero_grad()
    (losses.semantic + losses.modality).backward()
    assert module.projection is not None
    assert module.projection.weight.grad is not None
    return {
        name: inputs[name].grad for name in ("x_t", "x_c", "x_v")
    } | {"projection": module.projection.weight.grad.clone()}  # fmt: skip


@pytest.mark.parametrize("objective", ["shapley", "infonce"])
@pytest.mark.parametrize("estimator", NAMES)
def test_gradients_reach_what_takes_part_and_nothing_else(objective: Any, estimator: str) -> None:
    inputs = batch()
    inputs["x_v"][1] = torch.nan  # what stands in for a missing image does not matter
    inputs["x_c"][3] = torch.nan
    found = gradients(alignment(objective=objective, estimator=estimator), inputs)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert (found["x_c"].abs().sum(-1) > 0).tolist() == inputs["context_mask"].tolist()
    both = inputs["context_mask"] & inputs["image_mask"]
    assert (found["x_v"].abs().sum(-1) > 0).tolist() == both.tolist()
    assert (found["x_t"].abs().sum(-1) > 0).tolist() == inputs["context_mask"].tolist()
    assert found["projection"].abs().sum() > 0


@pytest.mark.parametrize("objective", ["shapley", "infonce"])
def test_a_batch_without_pairs_gives_zero_with_a_zero_gradient(objective: Any) -> None:
    module = alignment(objective=objective)
    inputs = batch(image_mask=torch.arange(B) == 2)
    found = module(**inputs)
    assert found.semantic != 0
    assert found.modality == 0
    for mask in ("context_mask", "image_mask"):
        inputs[mask] = torch.zeros(B, dtype=torch.bool)
    losses = module(**inputs)
    assert all(value.item() == 0 for value in vars(losses).values())
    assert all((gradient == 0).all() for gradient in gradients(module, inputs).values())


def test_a_last_batch_of_one() -> None:
    single = {name: value[:1] for name, value in batch().items()}
    losses = alignment()(**single)
    assert losses.semantic == 0
    assert losses.modality == 0


def test_autocast_is_off_inside() -> None:
    module = alignment(estimator="exact")
    expected = module(**batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(**batch())
    assert found.semantic.dtype == torch.float32
    torch.testing.assert_close(found.modality, expected.modality, atol=0, rtol=0)


def test_randomness_comes_from_the_generator() -> None:
    module = alignment()
    state = torch.get_rng_state()
    first, second, other = (module(**batch(), generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.semantic == second.semantic
    assert first.semantic != other.semantic


def test_a_step_of_training_raises_the_positive_similarity() -> None:
    module = alignment(negatives="mean")
    inputs = batch(context_mask=torch.ones(B, dtype=torch.bool))
    features = [inputs[name].requires_grad_() for name in ("x_t", "x_c", "x_v")]
    optimiser = torch.optim.Adam([*features, *module.parameters()], lr=0.05)
    generator = seeded()
    history = []
    for _ in range(30):
        losses = module(**inputs, generator=generator)
        optimiser.zero_grad()
        (losses.semantic + losses.modality).backward()
        optimiser.step()
        history.append(losses.positive_similarity - losses.negative_similarity)
    assert history[-1] > history[0] + 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "triplet"}, "objective: expected shapley or infonce"),
        ({"bridge": "none"}, "bridge: expected context or direct"),
        ({"bridge": "direct", "image_width": None}, "needs an image width"),
        ({"estimator": "guess"}, "estimator: expected one of"),
        ({"learn_temperature": True}, "negatives 'sum' have none to learn"),
        (SOFTMAX | {"value_temperature": 2.0}, r"to start in \[0.001, 1.0\], got 2.0"),
    ],
)
def test_a_module_names_what_it_does_not_take(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alignment(**arguments)


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (SOFTMAX | {"value_temperature": 0.3}, 0.3),
        (SOFTMAX | {"value_temperature": 0.3, "estimator": "exact"}, 0.3),
        ({"objective": "infonce", "temperature": 0.4, "learn_temperature": True}, 0.4),
    ],
)
def test_a_temperature_is_learnt_within_its_bounds(arguments: dict[str, Any], start: float) -> None:
    module = alignment(**arguments)
    inputs = batch()
    found = module(**inputs, generator=seeded())
    fixed = alignment(**arguments | {"learn_temperature": False})
    expected = fixed(**inputs, generator=seeded())
    torch.testing.assert_close(found.semantic, expected.semantic)
    assert [name for name, _ in module.named_parameters() if name not in fixed.state_dict()] == [
        "log_temperature"
    ]
    assert fixed.learnt_temperature() is None
    assert module.log_temperature is not None

    (found.semantic + found.modality).backward()
    assert module.log_temperature.grad is not None
    assert module.log_temperature.grad.abs() > 0
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        result = module(**inputs, generator=seeded())
        optimiser.zero_grad()
        (result.semantic + result.modality).backward()
        optimiser.step()
        losses.append((result.semantic + result.modality).item())
    assert module.log_temperature.exp().item() != pytest.approx(start, rel=0.01)
    assert losses[-1] < losses[0]

    for beyond, bound in ((-50.0, 0.001), (9.0, 1.0)):
        with torch.no_grad():
            module.log_temperature.fill_(beyond)
        module(**inputs, generator=seeded())
        assert module.log_temperature.item() == pytest.approx(math.log(bound))
        learnt = module.learnt_temperature()
        assert learnt is not None
        assert learnt.item() == pytest.approx(bound)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(ValueError, match="x_v: given to a model without images, or missing"):
        alignment()(**batch(x_v=None))
    with pytest.raises(ValueError, match="x_v: given to a model without images"):
        alignment(image_width=None)(**batch())
    with pytest.raises(ValueError, match="x_c: contexts are missing"):
        alignment()(**batch(x_c=None))
