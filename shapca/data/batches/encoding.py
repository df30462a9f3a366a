"""Words and contexts to sub-words, once per split.

N posts. No word ever disappears: what a tokenizer turns into nothing becomes one [UNK].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from shapca.data.batches.layout import Layout, sub_words, words_apart, words_one_by_one
from shapca.data.batches.ragged import Ints, Ragged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Encode = Literal["joint", "separate"]


@dataclass(frozen=True)
class EncodingReport:
    """What became of a split's input, to be reported rather than to pass in silence.

    Attributes:
        num_cut_texts: Texts that alone are longer than the encoder's input.
        num_cut_words: Words lost by cutting texts; they are predicted `O` and still scored.
        num_cut_contexts: Contexts shortened or left out to make room for the text.
        num_empty_contexts: Posts without a single context sub-word: none given, an empty one, or
            one that was wholly cut.
        num_missing_images: Posts without a readable picture, where the model reads images.
        num_unknown_words: Words that the tokenizer turns into nothing, encoded as one [UNK].
    """

    num_cut_texts: int = 0
    num_cut_words: int = 0
    num_cut_contexts: int = 0
    num_empty_contexts: int = 0
    num_missing_images: int = 0
    num_unknown_words: int = 0


@dataclass(frozen=True)
class Sequences:
    """A split's sub-words, cut to the encoder's length.

    Attributes:
        layout: The special sub-words; [CLS] and [SEP] stand for any tokenizer's.
        inputs: Per post `[CLS] text [SEP]`, joint encoding adds `context [SEP]` if any is left.
        word_starts: Per post, the place in `inputs` of each word's first sub-word; words that
            were cut have none.
        texts: (N,) number of the text's sub-words kept; they stand at places 1 to that number.
        contexts: (N,) number of the context's sub-words kept.
        context_inputs: Per post `[CLS] context [SEP]`, only where encoded separately.
        report: What was cut, empty or unknown.
    """

    layout: Layout
    inputs: Ragged
    word_starts: Ragged
    texts: Ints
    contexts: Ints
    context_inputs: Ragged | None
    report: EncodingReport

    @property
    def num_words(self) -> Ints:
        """(N,) words of each post that the encoder sees."""
        return self.word_starts.lengths


def encode_sequences(
    posts: Sequence[Sequence[str]],
    contexts: Sequence[str] | None,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    encode: Encode,
) -> Sequences:
    """Tokenise posts and contexts and lay them out as the encoder reads them.

    The context is cut first; a text that alone is too long is cut after the last sub-word that
    fits. Encoded separately, text and context have `max_length` sub-words each.

    Args:
        posts: Words of each post.
        contexts: Context of each post, empty for none; `None` for a model of the text alone.
        tokenizer: The text encoder's; it has special sub-words such as [CLS], [SEP] and [UNK].
        max_length: Sub-words of one encoder input, special ones included.
        encode: Text and context in one input, or each in its own.

    Raises:
        InputError: the tokenizer lacks a special sub-word, or lays texts out in another way.
    """
    layout = Layout.of(tokenizer)
    begin, end, between = layout.begin, layout.end, layout.between
    texts, starts, num_unknown = _tokenise_words(posts, tokenizer, layout)
    context_texts = [[] for _ in posts] if contexts is None else sub_words(contexts, tokenizer)

    inputs, word_starts, context_inputs = [], [], []
    num_texts, num_contexts, num_words_cut = [], [], []
    num_cut_contexts = 0
    for text, first, context in zip(texts, starts, context_texts, strict=True):
        text_kept = text[: max_length - 2]
        around = 2 if encode == "separate" else len(text_kept) + 2 + len(between)
        room = max_length - around
        context_kept = context[: max(0, room)]
        num_cut_contexts += len(context_kept) < len(context)
        sequence = [begin, *text_kept, end]
        if encode == "joint" and context_kept:
            sequence = [begin, *text_kept, *between, *context_kept, end]
        inputs.append(sequence)
        word_starts.append([1 + place for place in first if place < len(text_kept)])
        context_inputs.append([begin, *context_kept, end])
        num_texts.append(len(text_kept))
        num_contexts.append(len(context_kept))
        num_words_cut.append(len(first) - len(word_starts[-1]))

    report = EncodingReport(
        num_cut_texts=sum(kept < len(text) for kept, text in zip(num_texts, texts, strict=True)),
        num_cut_words=sum(num_words_cut),
        num_cut_contexts=num_cut_contexts,
        num_empty_contexts=0 if contexts is None else sum(not kept for kept in num_contexts),
        num_unknown_words=num_unknown,
    )
    separate = encode == "separate" and contexts is not None
    return Sequences(
        layout=layout,
        inputs=Ragged.of(inputs),
        word_starts=Ragged.of(word_starts),
        texts=np.asarray(num_texts, dtype=np.int64),
        contexts=np.asarray(num_contexts, dtype=np.int64),
        context_inputs=Ragged.of(context_inputs) if separate else None,
        report=report,
    )


def _tokenise_words(
    posts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, layout: Layout
) -> tuple[list[list[int]], list[list[int]], int]:
    """Sub-words of each post, where each word starts among them, and the number of [UNK] put in."""
    apart = words_apart if tokenizer.is_fast else words_one_by_one
    spaced = [[layout.space + word for word in words] for words in posts]
    texts, starts, num_unknown = [], [], 0
    for pieces in apart(spaced, tokenizer):
        text: list[int] = []
        first: list[int] = []
        for of_word in pieces:
            first.append(len(text))
            text += of_word or [layout.unknown]
            num_unknown += not of_word
        texts.append(text)
        starts.append(first)
    return texts, starts, num_unknown
