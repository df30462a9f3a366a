"""Lines of posts: what each key may be for which model, and what is told of a bad line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shapca.config import Task
from shapca.errors import InputError
from shapca.prediction import Extractor, Post
from shapca.prediction.post_file import NumberedPost, PostForm, read_lines, read_posts

Extractors = dict[Task, Extractor]


def read(
    extractor: Extractor, folder: Path, *records: Any, form: PostForm = PostForm()
) -> list[NumberedPost]:
    file = folder / "posts.jsonl"
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_posts(read_lines(file), form, extractor)


def test_texts_and_words_become_posts(extractors: Extractors, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "1.jpg").write_bytes(b"not opened")
    first, second, third = read(
        extractors["mner"],
        tmp_path,
        {"id": "a", "text": "Anna-Maria  sings", "context": "a stage", "image": "below/1.jpg"},
        "",
        {
            "words": ["Anna-Maria", "sings"],
            "pos": ["PROPN", "VERB"],
            "context": {"x": "1", "captions": "2"},
        },
        {"id": 7, "text": "Bob", "context": {"x": "of another set"}, "gold": ["B-PER"]},
        form=PostForm(tmp_path, unread=("gold",)),
    )
    image = tmp_path / "below" / "1.jpg"
    assert (first.id, first.post) == ("a", Post("Anna-Maria  sings", image, "a stage"))
    assert (second.id, second.place) == (2, f"{tmp_path}/posts.jsonl:3")
    words = second.post.words
    assert words is not None
    assert [tuple(word) for word in words] == [("Anna-Maria", 0, 10), ("sings", 11, 16)]
    assert (second.post.text, second.post.pos) == ("Anna-Maria sings", ("PROPN", "VERB"))
    assert second.post.context == "2"
    assert (third.id, third.post.context) == (7, "of another set")


def test_given_entities_are_characters_of_a_text_and_words_of_words(
    extractors: Extractors, tmp_path: Path
) -> None:
    of_text, of_words = read(
        extractors["mre"],
        tmp_path,
        {"text": "Anna and  Bob Lee", "entities": [[0, 4], {"start": 10, "end": 17}]},
        {"words": ["Anna", "and", "Bob", "Lee"], "entities": [[0, 1, "PER"], [2, 4]]},
    )
    assert of_text.post.entities == ((0, 4), (10, 17))
    assert of_words.post.entities == ((0, 4), (9, 16))
    pair = {
        "words": ["Anna", "and", "Bob"],
        "entities": [[0, 1], [2, 3]],
        "relations": [[1, 0, "x"]],
    }
    (turned,) = read(extractors["mre"], tmp_path, pair)
    assert turned.post.entities == ((9, 12), (0, 4))


def test_characters_may_be_words_and_keys_have_other_names(
    extractors: Extractors, tmp_path: Path
) -> None:
    form = PostForm(columns={"text": "body"}, characters=True)
    (found,) = read(extractors["mner"], tmp_path, {"body": "\u5317 \u4eac"}, form=form)
    assert found.post.words is not None
    assert [tuple(word) for word in found.post.words] == [("\u5317", 0, 1), ("\u4eac", 2, 3)]


@pytest.mark.parametrize(
    ("task", "record", "message"),
    [
        ("mner", "{", "not JSON"),
        ("mner", "[1]", "expected an object, found list"),
        ("mner", {"id": 5}, "expected either 'words' or 'text'"),
        ("mner", {"text": "Bob", "words": ["Bob"]}, "expected either 'words' or 'text'"),
        ("mner", {"text": "Bob", "picture": 1}, "unknown key 'picture'"),
        ("mner", {"text": "Bob", "id": "first"}, "the id 'first' is that of"),
        ("mner", {"text": "Bob", "entities": [[0, 3]]}, "does not read 'entities'; --ignore"),
        ("mner", {"text": "Bob", "tags": ["O"]}, "the model does not read 'tags'"),
        ("mner", {"text": "Bob", "image": "1.jpg"}, "give --images FOLDER"),
        ("mner", {"text": "Bob", "pos": ["PROPN"]}, "expected 'words', not 'text'"),
        ("mner", {"text": "Bob", "context": {"a": "1", "b": "2"}}, "contexts a, b; expected one"),
        ("mner", '{"text": "caf\\udce9"}', "is half a character"),
        ("mre", {"text": "Bob", "entities": [[0, 3]]}, "give two or more of them"),
        ("mre", {"text": "Bob", "entities": [[0, 3], [0, 9]]}, "entities[1] has the span [0, 9]"),
        (
            "mre",
            {"text": "Bob", "entities": [[0, 3]], "relations": [[0, 0, "x"], [0, 0, "y"]]},
            "2 relations; expected one at most",
        ),
        ("mjere", {"text": "Bob", "relations": [[[0, 1], [0, 1], "x"]]}, "not read 'relations'"),
    ],
)
def test_a_bad_line_is_named(
    extractors: Extractors, tmp_path: Path, task: Task, record: Any, message: str
) -> None:
    good: dict[str, Any] = {"id": "first", "text": "Anna and Bob"}
    if task == "mre":
        good["entities"] = [[0, 4], [9, 12]]
    with pytest.raises(InputError) as caught:
        read(extractors[task], tmp_path, good, record)
    assert str(caught.value).startswith(f"{tmp_path}/posts.jsonl:2: ")
    assert message in str(caught.value)


def test_missing_pictures_are_told_and_one_has_to_be_there(
    extractors: Extractors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    form, mner = PostForm(tmp_path), extractors["mner"]
    with pytest.raises(InputError, match=r"posts\.jsonl:1: .*x\.jpg is not there, nor any"):
        read(mner, tmp_path, {"text": "Bob", "image": "x.jpg"}, form=form)
    (tmp_path / "y.jpg").write_bytes(b"not opened")
    named = [{"text": "Bob", "image": f"{name}.jpg"} for name in "yxy"]
    posts = read(mner, tmp_path, *named, form=form)
    assert [post.post.image for post in posts] == [tmp_path / "y.jpg", None, tmp_path / "y.jpg"]
    (message,) = caplog.messages
    assert message.startswith(f"1 of 3 pictures are not there: {tmp_path}/posts.jsonl:2: ")
    with pytest.raises(InputError, match=r"posts\.jsonl:1: the image .* lies outside the folder"):
        read(mner, tmp_path, {"text": "Bob", "image": "../x.jpg"}, form=form)
    with pytest.raises(InputError, match="2 images; expected one"):
        read(mner, tmp_path, {"text": "Bob", "image": ["x.jpg", "y.jpg"]}, form=form)


def test_a_file_without_posts_is_refused(extractors: Extractors, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"posts\.jsonl: no posts"):
        read(extractors["mner"], tmp_path, "", "")
