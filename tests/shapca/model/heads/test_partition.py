"""The CRF's likelihood, both ways of summing, against enumeration and against `pytorch-crf`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torchcrf import CRF as LibraryCRF

from shapca.model.heads.crf import CRF
from shapca.model.heads.partition import Recursion, Scan, log_partition
from tests.head_batches import prefix_mask
from tests.oracles import crf as oracle

LENGTHS = [(1,), (1, 1), (2, 1), (5, 3, 1), (4, 4), (9, 2, 7, 9), (32,), (33, 1, 17)]


@pytest.fixture(params=[Recursion, Scan], ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One of the two ways, as the CRF's own."""
    with mock.patch("shapca.model.heads.crf.log_partition", request.param.apply):
        yield request.param.apply


def drawn(
    lengths: tuple[int, ...], num_tags: int = 4, *, scale: float = 1.0, dtype=torch.float64
) -> tuple[tuple[CRF, LibraryCRF], Tensor, Tensor, Tensor]:
    """Both CRFs with the same weights, emissions, tags and a mask."""
    generator = torch.Generator().manual_seed(len(lengths) + max(lengths))

    def numbers(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator, dtype=dtype)

    mask = prefix_mask(lengths)
    tags = torch.randint(num_tags, mask.shape, generator=generator) * mask
    library = LibraryCRF(num_tags, batch_first=True).to(dtype)
    for parameter in library.parameters():
        parameter.data = numbers(*parameter.shape)
    own = CRF(num_tags).to(dtype)
    own.load_state_dict(library.state_dict())
    return (own, library), numbers(*mask.shape, num_tags), tags, mask


def with_gradients(crf: Any, emissions: Tensor, *given: Tensor, **options: Any) -> list[Tensor]:
    """Log-likelihoods, and the gradients of an uneven sum of them; 0 where nothing is read."""
    emissions = emissions.clone().requires_grad_()
    values = crf(emissions, *given, **options)
    wanted = [emissions, *crf.parameters()]
    upstream = torch.linspace(1.0, 2.0, len(values), dtype=values.dtype)
    found = torch.autograd.grad(values, wanted, upstream, allow_unused=True)
    pairs = zip(found, wanted, strict=True)
    return [values, *(torch.zeros_like(w) if g is None else g for g, w in pairs)]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_value_and_gradient_are_those_of_the_library(
    way: Any, lengths: tuple[int, ...], scale: float
) -> None:
    (own, library), emissions, tags, mask = drawn(lengths, scale=scale)
    found = with_gradients(own, emissions, tags, mask)
    expected = with_gradients(library, emissions, tags, mask, reduction="none")
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_in_float32_neither_way_is_less_exact_than_the_library(way: Any) -> None:
    (own, library), emissions, tags, mask = drawn((40, 23, 40, 8), 9, scale=4.0)
    exact = with_gradients(library, emissions, tags, mask, reduction="none")
    emissions = emissions.float()
    found = with_gradients(own.float(), emissions, tags, mask)
    theirs = with_gradients(library.float(), emissions, tags, mask, reduction="none")
    for value, library_value, wanted in zip(found, theirs, exact, strict=True):
        off, allowed = (value - wanted).abs().max(), (library_value - wanted).abs().max()
        assert off <= 3 * allowed + 1e-6


@pytest.mark.parametrize("lengths", LENGTHS[:5], ids=str)
def test_all_paths_are_summed(way: Any, lengths: tuple[int, ...]) -> None:
    (own, _), emissions, _, mask = drawn(lengths, 3)
    weights = (own.start_transitions, own.transitions, own.end_transitions)
    found = way(emissions, mask, *weights)
    for post, length in enumerate(lengths):
        scores = [
            own._score(emissions[[post], :length], torch.tensor([path]), mask[[post], :length])
            for path in itertools.product(range(3), repeat=length)
        ]
        torch.testing.assert_close(found[post], torch.cat(scores).logsumexp(0))


def test_gradients_are_right_by_finite_differences(way: Any) -> None:
    (own, _), emissions, _, mask = drawn((5, 2, 4), 3)
    weights = [own.start_transitions, own.transitions, own.end_transitions]
    assert torch.autograd.gradcheck(
        lambda *given: way(given[0], mask, *given[1:]), (emissions.requires_grad_(), *weights)
    )


def test_a_post_alone_is_as_likely_as_in_a_batch(way: Any) -> None:
    (own, _), emissions, tags, mask = drawn((9, 2, 7, 9))
    together = own(emissions, tags, mask)
    for post, length in enumerate((9, 2, 7, 9)):
        alone = own(emissions[[post], :length], tags[[post], :length], mask[[post], :length])
        torch.testing.assert_close(alone[0], together[post])


def test_padding_is_never_read(way: Any) -> None:
    (own, _), emissions, tags, mask = drawn((9, 2, 7, 9))
    changed = emissions.masked_fill(~mask[:, :, None], 1e3)
    before, after = (with_gradients(own, given, tags, mask) for given in (emissions, changed))
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_on_a_cpu_words_follow_each_other() -> None:
    (own, _), emissions, _, mask = drawn((9, 2, 7, 9))
    weights = (own.start_transitions, own.transitions, own.end_transitions)
    expected = Recursion.apply(emissions, mask, *weights)
    assert torch.equal(log_partition(emissions, mask, *weights), expected)


def test_a_post_without_a_word_spoils_the_likelihood_rather_than_entering_it() -> None:
    (own, _), emissions, tags, mask = drawn((3, 2))
    mask[1] = False
    found = own(emissions, tags, mask)
    assert found.isnan().tolist() == [False, True]


def test_parameters_have_the_names_and_the_start_of_the_library() -> None:
    torch.manual_seed(3)
    own = CRF(9)
    torch.manual_seed(3)
    library = LibraryCRF(9)
    assert list(own.state_dict()) == list(library.state_dict())
    for name, value in library.state_dict().items():
        assert torch.equal(own.state_dict()[name], value)


def test_the_oracle_is_the_library() -> None:
    (_, library), emissions, tags, mask = drawn((9, 2, 7, 9))
    expected = library(emissions, tags, mask, reduction="none")
    assert torch.equal(oracle.log_likelihood(library, emissions, tags, mask), expected)
