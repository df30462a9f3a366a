"""How a tokenizer lays out a text alone and a text with a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from shapca.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Layout:
    """Special sub-words around a text and between it and a context, as a tokenizer puts them.

    Attributes:
        begin: Before a text, e.g. [CLS] or `<s>`.
        end: After a text or a context, e.g. [SEP] or `</s>`.
        between: From a text to its context, `end` first: [SEP], or `</s></s>`.
        unknown: What stands for a word that a tokenizer turns into nothing.
        padding: What fills a batch.
        context_type: Token type of a context, 1 or 0; a text's is 0.
        space: What a word has before it that is not the first of a text: a blank where sub-words
            hold the blank before a word, as RoBERTa's; else nothing.
    """

    begin: int
    end: int
    between: tuple[int, ...]
    unknown: int
    padding: int
    context_type: int
    space: str

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Self:
        """What a tokenizer does with examples.

        Raises:
            InputError: it lacks special sub-words, or puts others around a text.
        """
        text, context = _plain(tokenizer, "a"), _plain(tokenizer, "b")
        alone = tokenizer("a", verbose=False)["input_ids"]
        pair = tokenizer("a", "b", return_token_type_ids=True, verbose=False)
        ids = pair["input_ids"]
        last = len(text) + 1
        begin, end, between = alone[0], alone[-1], ids[last : len(ids) - len(context) - 1]
        if (
            alone != [begin, *text, end]
            or ids != [begin, *text, *between, *context, end]
            or between[:1] != [end]
            or None in (tokenizer.unk_token_id, tokenizer.pad_token_id)
        ):
            raise InputError(
                f"tokenizer {type(tokenizer).__name__}: expected [CLS] text [SEP] context [SEP] "
                f"or the like, with [UNK] and [PAD]; it makes of two texts "
                f"{tokenizer.convert_ids_to_tokens(ids)}"
            )
        types = pair.get("token_type_ids") or [0]
        within = [_plain(tokenizer, words) for words in ("a", " a", "a a")]
        spaced = within[2] == within[0] + within[1] != within[0] * 2
        return cls(
            begin=begin,
            end=end,
            between=tuple(between),
            unknown=tokenizer.unk_token_id,
            padding=tokenizer.pad_token_id,
            context_type=types[-1],
            space=" " if spaced else "",
        )


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def sub_words(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Sub-words of each text; equal texts are tokenised once. "[SEP]" in a text is plain text."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return []
    encoded = tokenizer(
        distinct, add_special_tokens=False, split_special_tokens=True, verbose=False
    )
    known = dict(zip(distinct, encoded["input_ids"], strict=True))
    return [known[text] for text in texts]


def words_apart(
    posts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase
) -> list[list[list[int]]]:
    """Sub-words of each word of each post, by a tokenizer that tells which word each is of."""
    if not posts:
        return []
    encoded = tokenizer(
        [list(words) for words in posts],
        is_split_into_words=True,
        add_special_tokens=False,
        split_special_tokens=True,
        verbose=False,
    )
    apart = []
    for index, words in enumerate(posts):
        pieces: list[list[int]] = [[] for _ in words]
        for piece, word in zip(encoded["input_ids"][index], encoded.word_ids(index), strict=True):
            pieces[word].append(piece)
        apart.append(pieces)
    return apart


def words_one_by_one(
    posts: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase
) -> list[list[list[int]]]:
    """The same by any tokenizer: each distinct word is tokenised by itself."""
    pieces = iter(sub_words([word for words in posts for word in words], tokenizer))
    return [[next(pieces) for _ in words] for words in posts]
