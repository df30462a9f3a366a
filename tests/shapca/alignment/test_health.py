"""The health of an alignment against an oracle, and what its figures are called."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import shapca.alignment.health as health_module
from shapca.alignment import ContrastiveAlignment, Pairs, Similarities
from shapca.alignment.health import AlignmentHealth
from shapca.alignment.standing import standing_of, standings
from tests.oracles import alignment as oracle

pytestmark = pytest.mark.usefixtures("one_thread")


def unit(num_posts: int, seed: int, width: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_posts, width, generator=generator, dtype=torch.float64)
    return functional.normalize(features, dim=-1)


def measured(*batches: Pairs, read_together: bool = False) -> dict[str, float]:
    health = AlignmentHealth(read_together=read_together)
    for pairs in batches:
        health.add((pairs,))
    return health.metrics()


def pair(left: Tensor, right: Tensor, mask: Tensor | None = None, name: str = "image") -> Pairs:
    mask = torch.ones(len(left), dtype=torch.bool) if mask is None else mask
    return Pairs(name, "context", left, right, mask)


@pytest.mark.parametrize("block", [1, 30, 2**22])
def test_the_figures_are_those_of_counting_pair_by_pair(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_BLOCK", block)
    left, right = unit(11, 1), unit(11, 2)
    right[3] = right[5]  # two posts of one context tie
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1], dtype=torch.bool)
    found = measured(pair(left[:4], right[:4], mask[:4]), pair(left[4:], right[4:], mask[4:]))
    x, y = list(left[mask].numpy()), list(right[mask].numpy())
    expected = {
        "alignment_gap_context_image": oracle.gap(x, y),
        "alignment_r1_context_of_image": oracle.recall(x, y, 1),
        "alignment_r5_context_of_image": oracle.recall(x, y, 5),
        "alignment_r1_image_of_context": oracle.recall(y, x, 1),
        "alignment_r5_image_of_context": oracle.recall(y, x, 5),
        "alignment_uniformity_image": oracle.uniformity(x),
        "alignment_uniformity_context": oracle.uniformity(y),
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_perfect_alignment_and_collapse() -> None:
    same = unit(9, 3)
    aligned = measured(pair(same, same))
    assert aligned["alignment_r1_context_of_image"] == 100.0
    assert aligned["alignment_gap_context_image"] > 0.9
    pole = torch.tensor([[1.0, 0.0]]).expand(20, 2)
    collapsed = measured(pair(pole, -pole))
    assert collapsed["alignment_gap_context_image"] == 0.0
    assert collapsed["alignment_r1_context_of_image"] == pytest.approx(5.0)  # by chance
    assert collapsed["alignment_r5_image_of_context"] == pytest.approx(25.0)
    assert collapsed["alignment_uniformity_image"] == 0.0


def test_a_pair_read_in_one_pass_is_named_so() -> None:
    texts = pair(unit(4, 1), unit(4, 2), name="text")
    apart, together = (measured(texts, read_together=value) for value in (False, True))
    assert list(together.values()) == list(apart.values())
    ends = ("alignment_uniformity_text", "alignment_uniformity_context")
    assert list(together) == [name if name in ends else f"{name}_joint" for name in apart]
    assert "alignment_gap_context_image" in measured(
        pair(unit(4, 1), unit(4, 2)), read_together=True
    )


@pytest.mark.parametrize("num_posts", [0, 1])
def test_fewer_than_two_pairs_say_nothing(num_posts: int) -> None:
    assert measured(pair(unit(num_posts, 1), unit(num_posts, 2))) == {}
    assert AlignmentHealth(read_together=True).metrics() == {}


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["context_text", "context_image"]),
        ({"bridge": "direct"}, ["image_text"]),
        ({"image_width": None}, ["context_text"]),
    ],
)
def test_the_pairs_of_a_module_are_those_of_its_losses(
    arguments: dict[str, Any], names: list[str]
) -> None:
    torch.manual_seed(0)
    arguments = {"image_width": 5, **arguments}
    module = ContrastiveAlignment(8, arguments.pop("image_width"), **arguments)
    x_v = None if module.projection is None else torch.randn(6, 5)
    masks = torch.tensor([[1, 1, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1]], dtype=torch.bool)
    inputs = (torch.randn(6, 8), torch.randn(6, 8), x_v, *masks)
    health = AlignmentHealth(read_together=False)
    health.add(module.pairs(*inputs))
    found = health.metrics()
    gaps = {name: value for name, value in found.items() if "gap" in name}
    assert list(gaps) == [f"alignment_gap_{name}" for name in names]
    compared = Similarities.of(module.pairs(*inputs))
    for number, gap in enumerate(gaps.values()):
        mask = compared.mask[number]
        cosines = compared.matrices[number][mask][:, mask]
        own = torch.eye(len(cosines), dtype=torch.bool)
        assert gap == pytest.approx((cosines[own].mean() - cosines[~own].mean()).item(), abs=1e-6)


def test_a_run_is_judged_by_its_widest_gap() -> None:
    assert standing_of(0.049, read_together=False) == "collapsed"
    assert standing_of(0.049, read_together=True) == "collapsed"
    assert standing_of(0.05, read_together=False) == "aligned"
    assert standing_of(0.05, read_together=True) == "trivial"
    epochs = [
        {"val/alignment_gap_context_text_joint": 0.5, "val/alignment_gap_context_image": 0.04},
        {"val/alignment_gap_context_text_joint": 0.0, "val/alignment_gap_context_image": 0.01},
    ]
    assert standings(epochs) == {"context_text": "trivial", "context_image": "collapsed"}
    assert standings([{"val/f1": 1.0}]) == standings([]) == {}
