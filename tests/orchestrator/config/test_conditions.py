"""Conditional dimensions: what is refused, when one is there, and which settings there are."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.config.conditions import present, within
from orchestrator.config.dimensions import Scalar
from orchestrator.config.sweep import SweepConfig
from shapca.errors import InputError

ENCODERS = {"type": "choice", "values": ["tiny", "minilm", "small"]}
RATE = {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}
CHAIN: dict[str, Any] = {
    "optimisation.encoder_learning_rate": {**RATE, "when": {"text.freeze": False}},
    "text.encoder": ENCODERS,
    "text.freeze": {
        "type": "choice",
        "values": [True, False],
        "when": {"text.encoder": ["minilm", "small"]},
    },
    "optimisation.learning_rate": RATE,
}


def tree_of(space: dict[str, Any], **changes: Any) -> dict[str, Any]:
    experiment = {"data": {"dataset": "synthetic"}, "optimisation": {"epochs": 3}}
    return {"name": "branches", "experiment": experiment, "space": space, **changes}


def load(folder: Path, space: dict[str, Any], *overrides: str, **changes: Any) -> SweepConfig:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(tree_of(space, **changes), sort_keys=False), encoding="utf-8")
    return SweepConfig.load(path, overrides)


def holds_by_hand(key: str, values: dict[str, Scalar]) -> bool:
    """The chain's conditions, spelt out."""
    has_freeze = values["text.encoder"] in ("minilm", "small")
    conditional = {
        "text.freeze": has_freeze,
        "optimisation.encoder_learning_rate": has_freeze and values["text.freeze"] is False,
    }
    return conditional.get(key, True)


def test_a_dimension_is_there_where_all_conditions_on_the_way_hold(tmp_path: Path) -> None:
    sweep = load(tmp_path, CHAIN)
    combinations = itertools.product((1e-5, 1e-3), ENCODERS["values"], (True, False), (1e-5, 1e-3))
    wanted = []
    for values in combinations:
        whole = dict(zip(CHAIN, values, strict=True))
        shown = present(sweep.space, whole)
        assert shown == {k: v for k, v in whole.items() if holds_by_hand(k, whole)}
        assert list(shown) == [key for key in CHAIN if key in shown]
        assert within(sweep.space)(shown)
        assert within(sweep.space)(whole) is (len(shown) == len(whole))
        wanted.append(shown)
    distinct = list({repr(values): values for values in wanted}.values())
    assert list(sweep.corners()) == distinct
    assert len(distinct) == 2 * 1 + 2 * 2 * 1 + 2 * 2 * 2


def test_two_settings_that_differ_where_nothing_is_there_are_one_cell(tmp_path: Path) -> None:
    sweep = load(tmp_path, CHAIN)
    one, other = (
        present(sweep.space, {**dict.fromkeys(CHAIN, 1e-4), "text.encoder": "tiny",
                              "text.freeze": freeze, "optimisation.encoder_learning_rate": rate})
        for freeze, rate in ((True, 1e-5), (False, 1e-3))
    )  # fmt: skip
    assert one == other == {"text.encoder": "tiny", "optimisation.learning_rate": 1e-4}
    config = sweep.resolve(one)
    assert not config.text.freeze  # as the experiment has it
    assert config.optimisation.encoder_learning_rate not in (1e-5, 1e-3)


def test_every_extreme_of_a_large_space_is_shown_where_it_is_there(tmp_path: Path) -> None:
    many = {
        f"alignment.{key}": {"type": "choice", "values": [0.1 * n for n in range(1, 21)]}
        for key in ("alpha", "beta")
    }
    sweep = load(tmp_path, CHAIN | many)
    corners = list(sweep.corners())
    assert len(corners) < 60
    for key, dimension in sweep.space.items():
        shown = {repr(corner[key]) for corner in corners if key in corner}
        assert shown == set(map(repr, dimension.corners()))
    assert all(present(sweep.space, probe) == probe for probe in sweep.probes())
    rates = {
        probe["optimisation.encoder_learning_rate"]
        for probe in sweep.probes()
        if "optimisation.encoder_learning_rate" in probe
    }
    assert len(rates) == 3


def test_a_grid_holds_each_setting_once(tmp_path: Path) -> None:
    sweep = load(tmp_path, CHAIN, "protocol.sampler=grid")
    grid = sweep.grid()
    assert len(grid) == 3 * (1 + 2 * (1 + 3))
    settings = [repr(setting) for setting in grid]
    assert len(set(settings)) == len(grid)
    for setting in grid:
        assert list(setting) == [key for key in CHAIN if key in setting]
        assert within(sweep.space)(setting)
    assert [setting["text.encoder"] for setting in grid[:4]] == ["tiny"] * 3 + ["minilm"]
    with pytest.raises(IndexError):
        grid[len(grid)]


def test_a_grid_of_too_many_branches_is_refused(tmp_path: Path) -> None:
    names = ("batch_size", "patience", "epochs")
    many = {
        f"optimisation.{key}": {"type": "choice", "values": list(range(4, 29))} for key in names
    }
    last = {"head.dropout": {**RATE, "when": {f"optimisation.{key}": 5 for key in names}}}
    assert load(tmp_path, many | last).space
    with pytest.raises(InputError, match=r"sampler: grid with conditions .* these have 15,625"):
        load(tmp_path, many | last, "protocol.sampler=grid")


@pytest.mark.parametrize(
    ("key", "when", "message"),
    [
        ("optimisation.learning_rate", {"text.encoders": "tiny"},
         r"text\.encoders is no other dimension of the space \(optimisation\.encoder_learning"),
        ("optimisation.learning_rate", {"optimisation.learning_rate": 1},
         r"optimisation\.learning_rate is no other dimension|is of type float"),
        ("text.freeze", {"optimisation.learning_rate": 1e-4}, "is of type float; expected a dim"),
        ("text.freeze", {"text.encoder": "bert"},
         r"text\.encoder has no value 'bert'; expected some of 'tiny', 'minilm', 'small'"),
        ("text.freeze", {"text.encoder": ["minilm", 3]}, "text.encoder has no value 3"),
        ("text.freeze", {"text.encoder": []}, "expected a value of the choice, or a"),
        ("text.freeze", {"text.encoder": [{"a": 1}]}, "a value of the choice, or a"),
        ("text.freeze", "minilm", r"space\.text\.freeze.*dict"),
        ("optimisation.encoder_learning_rate", {"text.freeze": False, "text.encoder": "tiny"},
         r"never holds: text\.encoder would need"),
        ("text.encoder", {"text.freeze": True},
         r"circle \(text\.freeze → text\.encoder → text\.freeze\)"),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_is_refused(
    key: str, when: Any, message: str, tmp_path: Path
) -> None:
    space = {**CHAIN, key: {**CHAIN[key], "when": when}}
    with pytest.raises(InputError, match=message) as refused:
        load(tmp_path, space)
    assert re.match(rf"{re.escape(str(tmp_path))}/space\.yaml: space\.", str(refused.value))
    assert "\n" not in str(refused.value)


def test_a_chain_of_any_length_is_one_message_at_most(tmp_path: Path) -> None:
    names = [f"alignment.n{number}" for number in range(400)]
    chain = {
        name: {"type": "choice", "values": [1, 2], "when": {above: 1}}
        for name, above in itertools.pairwise(names)
    }
    chain[names[-1]] = {"type": "choice", "values": [1, 2]}
    with pytest.raises(InputError, match=r"alignment\.n0\.when: more than 100 conditions"):
        load(tmp_path, chain)


def test_a_sampler_that_needs_the_same_dimensions_in_every_trial_is_refused(
    tmp_path: Path,
) -> None:
    message = r"protocol\.sampler: gp .* space\.optimisation\.encoder_learning_rate\.when"
    with pytest.raises(InputError, match=message):
        load(tmp_path, CHAIN, "protocol.sampler=gp")
    for name in ("tpe", "random", "grid", "qmc"):
        load(tmp_path, CHAIN, f"protocol.sampler={name}")


def test_a_condition_is_declared_only_where_there_is_one(tmp_path: Path) -> None:
    plain = load(tmp_path, {"optimisation.learning_rate": RATE})
    assert "when" not in str(plain.model_dump(mode="json"))
    lists = {**CHAIN, "text.freeze": {**CHAIN["text.freeze"], "when": {"text.encoder": ["small"]}}}
    listed = load(tmp_path, lists).model_dump(mode="json")
    single = load(tmp_path, CHAIN, "space.text.freeze.when={text.encoder: small}")
    assert single.model_dump(mode="json") == listed
    assert SweepConfig.model_validate(listed) == single


def test_given_points_have_what_is_there(tmp_path: Path) -> None:
    first = [{}, {"text.encoder": "minilm"}]
    sweep = load(tmp_path, CHAIN, protocol={"first": first})
    defaults, minilm = sweep.first()
    assert list(defaults) == ["text.encoder", "optimisation.learning_rate"]
    assert list(minilm) == list(CHAIN)
    for wrong in ({"text.freeze": True}, {"text.encoder": "tiny", "text.freeze": True}):
        with pytest.raises(InputError, match=r"space\.yaml: protocol\.first, point 1: text\.fre"):
            load(tmp_path, CHAIN, protocol={"first": [wrong]})


def test_set_adds_a_dimension_and_a_condition(tmp_path: Path) -> None:
    space = {"text.encoder": ENCODERS}
    added = "space.head.dropout={type: float, low: 0.1, high: 0.3, when: {text.encoder: tiny}}"
    sweep = load(tmp_path, space, added)
    assert list(sweep.space) == ["text.encoder", "head.dropout"]
    assert sweep.space["head.dropout"].when == {"text.encoder": ("tiny",)}
    again = load(tmp_path, space, added, "space.head.dropout.low=0.2")
    assert min(corner.get("head.dropout", 1) for corner in again.corners()) == 0.2
    both = {**space, "head.dropout": RATE, "head": {"dropout": dict(RATE)}}
    with pytest.raises(InputError, match=r"space\.yaml: space: head\.dropout is given twice"):
        load(tmp_path, both)
