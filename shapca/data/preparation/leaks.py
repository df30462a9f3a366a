"""Posts that one data set trains on and another is scored on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shapca.data.manifest import MANIFEST
from shapca.data.preparation.picture_sources import image_ids
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS, Example
from shapca.words import counted

SAME_POSTS = {
    "gmner": ("twitter2015", "twitter2017"),
    "fmnerg": ("twitter2015", "twitter2017"),
    "fmnerg-coarse": ("twitter2015", "twitter2017"),
}
"""Sets whose posts are those of others in other splits."""


def leaks(name: str, out: Path, splits: Mapping[str, Sequence[Example]]) -> Iterator[str]:
    """Warnings of posts that another prepared set beside `out` has in another split."""
    related = {*SAME_POSTS.get(name, ()), *(key for key, to in SAME_POSTS.items() if name in to)}
    held_out = image_ids({**splits, "train": ()})
    train = image_ids({**dict.fromkeys(SPLITS, ()), "train": splits["train"]})
    for other in sorted(related):
        folder = out.parent / other
        if not (folder / MANIFEST).is_file():
            continue
        theirs = PreparedData.load(folder).splits
        their_train = set(image_ids({**dict.fromkeys(SPLITS, ()), "train": theirs["train"]}))
        their_held_out = set(image_ids({**theirs, "train": ()}))
        for first, second, num in (
            (out.name, other, len(their_held_out.intersection(train))),
            (other, out.name, len(their_train.intersection(held_out))),
        ):
            if num:
                yield (
                    f"{first}'s train split has {counted(num, 'picture')} of {second}'s valid and "
                    f"test splits: a model trained on {first} must not be scored on {second}"
                )
