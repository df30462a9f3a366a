"""What a prepared data set holds: the counts by which one tells that it was read rightly."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shapca.data.images import ImageStore
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, SPLITS, Entity, Example, Labels, Relation
from shapca.data.tags import is_zero_width, num_orphans, strict_entities

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NUM_LONGEST = 3


@dataclass(frozen=True)
class ContextCounts:
    """One context set on one split, counted in posts.

    Attributes:
        num_captions: Posts with a caption.
        num_empty: Posts whose image has an empty one.
        num_missing: Posts whose image has none, or that have no image.
        longest: Words of the longest caption.
    """

    num_captions: int
    num_empty: int
    num_missing: int
    longest: int


@dataclass(frozen=True)
class EncodedCounts:
    """Sub-words under one tokenizer and one length, of one split.

    Attributes:
        longest_text: Sub-words of the longest text.
        num_cut_texts: Texts that alone are too long.
        num_cut_words: Words lost by that.
        num_unknown_words: Words that the tokenizer turns into nothing.
        longest_context: For each context set, sub-words of the longest.
        num_cut_contexts: For each context set, contexts shortened or left out.
    """

    longest_text: int
    num_cut_texts: int
    num_cut_words: int
    num_unknown_words: int
    longest_context: Mapping[str, int]
    num_cut_contexts: Mapping[str, int]


@dataclass(frozen=True)
class SplitReport:
    """The counts of one split.

    Attributes:
        num_examples: Posts; for MRE and MJERE rows, several of which may share a post.
        num_words: Of all posts.
        num_entities: Distinct (row, start, end, type), read leniently where there are tags.
        entities_by_type: The same by type; `untyped` where a source gives spans alone.
        num_strict_entities: In strict IOB2; `None` where there are no tags.
        num_orphan_tags: `I-` tags that continue nothing; `None` where there are no tags.
        num_relations: Relations other than `None`.
        relations_by_type: Relations by type, `None` included.
        num_tail_first: Relations, `None` included, whose head starts after their tail.
        num_overlapping: Relations, `None` included, whose head and tail share words.
        num_split_posts: Distinct posts (words and image) spread over several rows.
        num_recovered_relations: Relations that come back from the table of word pairs; only MJERE.
        num_zero_width_words: Words with nothing to see.
        num_images: Distinct image ids.
        num_missing_images: Those without a readable picture.
        contexts: Counts of each context set.
        longest: Ids and numbers of words of the longest texts.
        encoded: Sub-word counts, where a tokenizer was given.
    """

    num_examples: int
    num_words: int
    num_entities: int
    entities_by_type: Mapping[str, int]
    num_strict_entities: int | None
    num_orphan_tags: int | None
    num_relations: int
    relations_by_type: Mapping[str, int]
    num_tail_first: int
    num_overlapping: int
    num_split_posts: int
    num_recovered_relations: int | None
    num_zero_width_words: int
    num_images: int
    num_missing_images: int
    contexts: Mapping[str, ContextCounts]
    longest: Mapping[str, int]
    encoded: EncodedCounts | None = None


@dataclass(frozen=True)
class DataReport:
    """The counts of a prepared data set.

    Attributes:
        name: Of the data set.
        task: That it serves.
        labels: Label sets and the number of the head's outputs.
        splits: The counts of each split.
        shared_texts: For each pair of splits, distinct texts (words) that both hold.
        shared_images: For each pair of splits, image ids that both hold.
        contexts: For each context set, what its import met.
        image_size: Side of the stored squares in pixels; `None` without images.
        broken_images: Image id to the reason for which its file could not be read.
    """

    name: str
    task: str
    labels: Mapping[str, Any]
    splits: Mapping[str, SplitReport]
    shared_texts: Mapping[str, int]
    shared_images: Mapping[str, int]
    contexts: Mapping[str, Mapping[str, Any]]
    image_size: int | None
    broken_images: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return dataclasses.asdict(self)


def inspect(
    data: PreparedData, tokenizer: PreTrainedTokenizerBase | None = None, max_length: int = 256
) -> DataReport:
    """Count what a prepared data set holds.

    Args:
        data: The data set.
        tokenizer: Count sub-words and cut texts too.
        max_length: Sub-words of text and context together.

    Raises:
        InputError: a part is missing or was changed.
    """
    store = data.image_store()
    contexts = {name: data.contexts(name) for name in data.context_names}
    splits = {}
    for split in SPLITS:
        report = _inspect_split(data.splits[split], data.labels, store, contexts)
        if tokenizer is not None:
            encoded = _count_subwords(data.splits[split], contexts, tokenizer, max_length)
            report = dataclasses.replace(report, encoded=encoded)
        splits[split] = report
    texts = {split: {example.words for example in data.splits[split]} for split in SPLITS}
    images = {split: {e.image for e in data.splits[split]} - {None} for split in SPLITS}
    return DataReport(
        name=data.name,
        task=data.labels.task,
        labels={**data.labels.to_json(), "num_outputs": data.labels.num_outputs},
        splits=splits,
        shared_texts=_shared(texts),
        shared_images=_shared(images),
        contexts=data.manifest.contexts,
        image_size=data.manifest.image_size,
        broken_images={} if store is None else store.broken,
    )


def _inspect_split(
    examples: Sequence[Example],
    labels: Labels,
    store: ImageStore | None,
    contexts: Mapping[str, Mapping[str, str]],
) -> SplitReport:
    entities = [entity for example in examples for entity in example.entities]
    relations = [relation for example in examples for relation in example.relations]
    tags = [example.tags for example in examples if example.tags is not None]
    images = {example.image for example in examples if example.image is not None}
    posts = Counter((example.words, example.image) for example in examples)
    by_length = sorted(examples, key=lambda example: len(example.words), reverse=True)
    return SplitReport(
        num_examples=len(examples),
        num_words=sum(len(example.words) for example in examples),
        num_entities=len(entities),
        entities_by_type=_counted(entity.type or "untyped" for entity in entities),
        num_strict_entities=sum(len(strict_entities(post)) for post in tags) if tags else None,
        num_orphan_tags=sum(num_orphans(post) for post in tags) if tags else None,
        num_relations=sum(relation.type != NONE for relation in relations),
        relations_by_type=_counted(relation.type for relation in relations),
        num_tail_first=sum(r.head.start > r.tail.start for r in relations),
        num_overlapping=sum(
            r.head.start < r.tail.end and r.tail.start < r.head.end for r in relations
        ),
        num_split_posts=sum(count > 1 for count in posts.values()),
        num_recovered_relations=(
            sum(num_recovered(example, labels) for example in examples)
            if labels.task == "mjere"
            else None
        ),
        num_zero_width_words=sum(is_zero_width(word) for e in examples for word in e.words),
        num_images=len(images),
        num_missing_images=len(images - set(() if store is None else store.index)),
        contexts={name: _count_contexts(examples, texts) for name, texts in contexts.items()},
        longest={example.id: len(example.words) for example in by_length[:_NUM_LONGEST]},
    )


def num_recovered(example: Example, labels: Labels) -> int:
    """Gold relations of a post that come back from its table: spans, types and relation.

    The table does not tell direction, so neither does the comparison.
    """
    from shapca.data.word_pair_table import as_table_reads

    back = as_table_reads(example, labels)
    gold = _undirected(example.entities, example.relations)
    return len(gold & _undirected(back.entities, back.relations))


def _undirected(entities: Iterable[Entity], relations: Iterable[Relation]) -> set[Any]:
    types = {entity.span: entity.type for entity in entities}
    return {
        (frozenset([(r.head, types[r.head]), (r.tail, types[r.tail])]), r.type) for r in relations
    }


def _count_contexts(examples: Sequence[Example], texts: Mapping[str, str]) -> ContextCounts:
    captions = [texts.get(example.image) if example.image else None for example in examples]
    return ContextCounts(
        num_captions=sum(bool(caption) for caption in captions),
        num_empty=sum(caption == "" for caption in captions),
        num_missing=sum(caption is None for caption in captions),
        longest=max((len(caption.split()) for caption in captions if caption), default=0),
    )


def _count_subwords(
    examples: Sequence[Example],
    contexts: Mapping[str, Mapping[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> EncodedCounts:
    from shapca.data.batches.encoding import encode_sequences

    posts = [example.words for example in examples]
    whole = sum(len(word) + 1 for post in posts for word in post) + max_length  # nothing is cut
    texts = encode_sequences(posts, None, tokenizer, max_length=max_length, encode="joint")
    uncut = encode_sequences(posts, None, tokenizer, max_length=whole, encode="joint")
    longest, cut = {}, {}
    for name, captions in contexts.items():
        joined = [captions.get(example.image or "", "") for example in examples]
        both = encode_sequences(posts, joined, tokenizer, max_length=max_length, encode="joint")
        lengths = tokenizer(list(dict.fromkeys(joined)), add_special_tokens=False, verbose=False)
        longest[name] = max(len(ids) for ids in lengths["input_ids"])
        cut[name] = both.report.num_cut_contexts
    return EncodedCounts(
        longest_text=int(uncut.texts.max(initial=0)),
        num_cut_texts=texts.report.num_cut_texts,
        num_cut_words=texts.report.num_cut_words,
        num_unknown_words=texts.report.num_unknown_words,
        longest_context=longest,
        num_cut_contexts=cut,
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _shared(sets: Mapping[str, set[Any]]) -> dict[str, int]:
    return {
        f"{first}/{second}": len(sets[first] & sets[second])
        for first, second in itertools.combinations(SPLITS, 2)
    }
