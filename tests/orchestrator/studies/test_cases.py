"""Posts of a picture: which are shown, and what is said of the choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.studies.cases import Selection, cases
from shapca.data.schema import Prediction
from shapca.errors import InputError
from tests.factories import tiny_config, tiny_data


def selection(folder: Path, *, posts: tuple[int, ...] = (), num_posts: int = 2) -> Selection:
    """The system `new` is right on posts 1, 2, 4 and 5, the system `old` on 0, 2 and 3."""
    data = tiny_data(folder, "mjere", num_train=4, num_valid=2, num_test=6)
    test = data.splits["test"]
    assert all(post.entities for post in test)
    nothing = Prediction()
    systems = {
        name: {
            post.id: Prediction(entities=post.entities, relations=post.relations)
            if row in right
            else nothing
            for row, post in enumerate(test)
        }
        for name, right in {"old": (0, 2, 3), "new": (1, 2, 4, 5)}.items()
    }
    chosen = tuple(test[row].id for row in posts)
    return cases(data, tiny_config("mjere"), systems, posts=chosen, num_posts=num_posts)


def test_a_choice_of_successes_says_how_many_there_are_and_how_many_failures(
    tmp_path: Path,
) -> None:
    found = selection(tmp_path)
    assert [case.id.rpartition("-")[2].lstrip("0") for case in found.cases] == ["1", "4"]
    assert found.how == (
        "The first 2 of 3 test posts that only new gets wholly right; 2 that old gets wholly right "
        "and new does not."
    )
    assert all(case.is_solved_by("new") and not case.is_solved_by("old") for case in found.cases)
    assert found.cases[0].num_missed("old") == len(found.cases[0].gold)
    # A picture is shown where the post has one.
    assert any(case.picture is not None for case in selection(tmp_path / "b", num_posts=3).cases)


def test_named_posts_are_shown_in_their_order(tmp_path: Path) -> None:
    found = selection(tmp_path, posts=(3, 0))
    assert [case.is_solved_by("old") for case in found.cases] == [True, True]
    assert found.cases[0].id > found.cases[1].id
    assert found.how == "Posts named in the study's file."


def test_an_unknown_post_is_refused(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, "mjere", num_train=4, num_valid=2, num_test=2)
    with pytest.raises(InputError, match=r"figure.posts: 'x' is not in the test split of .*tiny"):
        cases(data, tiny_config("mjere"), {"a": {}, "b": {}}, posts=["x"])
