"""Words and contexts to sub-words, once per split.

N posts. No word ever disappears: what a tokenizer turns into nothing becomes one [UNK].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from shapca.data.batches.ragged import Ints, Ragged
from shapca.errors import InputError

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
        inputs: Per post `[CLS] text [SEP]`, joint encoding adds `context [SEP]` if any is left.
        word_starts: Per post, the place in `inputs` of each word's first sub-word; words that
            were cut have none.
        texts: (N,) number of the text's sub-words kept; they stand at places 1 to that number.
        contexts: (N,) number of the context's sub-words kept.
        context_inputs: Per post `[CLS] context [SEP]`, only where encoded separately.
        report: What was cut, empty or unknown.
    """

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
        tokenizer: A fast tokenizer with [CLS], [SEP] and [UNK].
        max_length: Sub-words of one encoder input, special ones included.
        encode: Text and context in one input, or each in its own.

    Raises:
        InputError: the tokenizer is no fast one or lacks a special token.
    """
    special = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id)
    if not tokenizer.is_fast or None in special:
        raise InputError(
            f"tokenizer {type(tokenizer).__name__}: expected a fast tokenizer with [CLS], [SEP] "
            "and [UNK], as BERT's"
        )
    begin, end, unknown = special
    texts, starts, num_unknown = _tokenise_words(posts, tokenizer, unknown)
    context_texts = [[] for _ in posts] if contexts is None else _tokenise(contexts, tokenizer)

    inputs, word_starts, context_inputs = [], [], []
    num_texts, num_contexts, num_words_cut = [], [], []
    num_cut_contexts = 0
    for text, first, context in zip(texts, starts, context_texts, strict=True):
        text_kept = text[: max_length - 2]
        room = max_length - 2 if encode == "separate" else max_length - len(text_kept) - 3
        context_kept = context[: max(0, room)]
        num_cut_contexts += len(context_kept) < len(context)
        sequence = [begin, *text_kept, end]
        if encode == "joint" and context_kept:
            sequence += [*context_kept, end]
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
        inputs=Ragged.of(inputs),
        word_starts=Ragged.of(word_starts),
        texts=np.asarray(num_texts, dtype=np.int64),
        contexts=np.asarray(num_contexts, dtype=np.int64),
        context_inputs=Ragged.of(context_inputs) if separate else None,
        report=report,
    )


def _tokenise(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Sub-words of each text; equal texts are tokenised once. "[SEP]" in a text is plain text."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return []
    encoded = tokenizer(
        distinct, add_special_tokens=False, split_special_tokens=True, verbose=False
    )
    known = dict(zip(distinct, encoded["input_ids"], strict=True))
    return [known[text] for text in texts]


def _tokenise_words(
    posts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, unknown: int
) -> tuple[list[list[int]], list[list[int]], int]:
    """Sub-words of each post, where each word starts among them, and the number of [UNK] put in."""
    if not posts:
        return [], [], 0
    encoded = tokenizer(
        [list(words) for words in posts],
        is_split_into_words=True,
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,
    )
    texts, starts, num_unknown = [], [], 0
    for index, words in enumerate(posts):
        pieces: list[list[int]] = [[] for _ in words]
        for piece, word in zip(encoded["input_ids"][index], encoded.word_ids(index), strict=True):
            pieces[word].append(piece)
        text: list[int] = []
        first: list[int] = []
        for of_word in pieces:
            first.append(len(text))
            text += of_word or [unknown]
            num_unknown += not of_word
        texts.append(text)
        starts.append(first)
    return texts, starts, num_unknown
