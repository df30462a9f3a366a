"""Write a synthetic data set in the form of a prepared one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shapca.config import Task
from shapca.data.manifest import Manifest
from shapca.data.preparation.writer import write_prepared
from shapca.data.schema import NONE, SPLITS, Entity, Example, Labels, Relation
from shapca.data.synthetic.drawing import draw
from shapca.data.synthetic.language import DOMAINS, ENTITY_TYPES, RELATION_TYPES
from shapca.data.synthetic.posts import CAPTION_SETS, Post, write_posts
from shapca.errors import InputError

LABELS: Mapping[Task, Labels] = {
    "mner": Labels("mner", ENTITY_TYPES),
    "mre": Labels("mre", (), RELATION_TYPES),
    "mjere": Labels("mjere", ENTITY_TYPES, RELATION_TYPES),
}
MISSING_IMAGES = 0.1
"""Share of posts whose picture is missing."""
SECOND_PAIRS = 0.6
"""Share of MRE posts with a known entity that are asked about it in a row of its own."""


def synthesise(
    out: Path,
    *,
    task: Task = "mner",
    domain: str = "street",
    seed: int = 0,
    num_train: int = 480,
    num_valid: int = 160,
    num_test: int = 320,
    image_size: int = 64,
    overwrite: bool = False,
) -> Manifest:
    """Make a data set in which text alone does not suffice.

    Three posts of four bear a name that may mean a person, an organisation, a place or something
    else, in a text that fits all four (MRE, MJERE: two names that may relate in any way). The
    caption tells which in under half of the posts of the context set `captions` (in four of five
    of `detailed`); the picture tells always, but one in ten is missing.

    Args:
        out: The prepared folder to make.
        task: Which task's annotation to write.
        domain: `street` or `festival`: other names, texts, captions and drawings under the same
            labels.
        seed: Equal arguments give equal bytes.
        num_train: Training examples.
        num_valid: Validation examples.
        num_test: Test examples.
        image_size: Side of the pictures in pixels.
        overwrite: Replace a prepared folder.

    Returns:
        The manifest written.

    Raises:
        InputError: an unknown task or domain, a number below 1, or `out` is taken.
    """
    sizes = dict(zip(SPLITS, (num_train, num_valid, num_test), strict=True))
    if task not in LABELS:
        raise InputError(f"task {task!r}: expected one of {', '.join(LABELS)}")
    if domain not in DOMAINS:
        raise InputError(f"domain {domain!r}: expected one of {', '.join(DOMAINS)}")
    if seed < 0 or min(sizes.values()) < 1 or image_size < 16:
        raise InputError(
            "expected a seed of 0 or more, at least one example a split, and pictures of at "
            f"least 16 pixels; got seed {seed}, sizes {tuple(sizes.values())}, {image_size} pixels"
        )
    splits: dict[str, list[Example]] = {}
    contexts: dict[str, dict[str, str]] = {name: {} for name in CAPTION_SETS}
    images: dict[str, NDArray[np.uint8]] = {}
    for number, (split, size) in enumerate(sizes.items()):
        key = (list(LABELS).index(task), list(DOMAINS).index(domain), number)
        words, pictures = (
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*key, stream)))
            for stream in range(2)
        )
        splits[split] = []
        for index, post in enumerate(write_posts(task, DOMAINS[domain], words)):
            image = f"{domain}-{split}-{index:05d}"
            for name, caption in post.captions.items():
                contexts[name][image] = caption
            picture = draw(post.scene, domain, image_size, pictures)
            if pictures.random() >= MISSING_IMAGES:
                images[image] = picture
            splits[split] += _examples(post, task, image, words)
            if len(splits[split]) >= size:
                break
        del splits[split][size:]
    return write_prepared(
        out,
        name=out.name,
        labels=LABELS[task],
        splits=splits,
        contexts=contexts,
        images=images,
        image_size=image_size,
        overwrite=overwrite,
    )


def _examples(
    post: Post, task: Task, image: str, generator: np.random.Generator
) -> Iterator[Example]:
    """The rows of a post: one, or in MRE one a pair that is asked about."""
    if task == "mner":
        yield Example(image, post.words, post.pos, image, post.tags, post.entities)
        return
    relation = post.relation
    assert relation is not None
    if task == "mjere":
        relations = () if relation.type == NONE else (relation,)
        yield Example(image, post.words, post.pos, image, None, post.entities, relations)
        return
    yield _pair_row(f"{image}-0", post, image, relation)
    if post.aside is not None and generator.random() < SECOND_PAIRS:
        yield _pair_row(f"{image}-1", post, image, Relation(relation.head, post.aside.span, NONE))


def _pair_row(identifier: str, post: Post, image: str, relation: Relation) -> Example:
    entities = tuple(Entity(*span, None) for span in sorted((relation.head, relation.tail)))
    return Example(identifier, post.words, post.pos, image, None, entities, (relation,))
