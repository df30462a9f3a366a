"""Tokenizers of the text encoders, and the bundled vocabulary of the tiny one."""

from __future__ import annotations

import string
from functools import lru_cache

from transformers import BertTokenizer

from shapca.errors import InputError
from shapca.model.encoders.weights import TINY_VOCABULARY, locate

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PUNCTUATION = "“”‘’…–—•€£°©®™"
SUFFIXES = ("##es", "##ed", "##er", "##est", "##ing", "##ly", "##ion", "##th")
# The words that carry English grammar, so that a tiny model need not spell them.
COMMON_WORDS = """
a about above after again against all also am among an and another any anyone are around as at away
back be because been before behind being below best better between big both but by came can come
could day did do does done down each even ever every everyone few find first for from get give go
going gone good got great had happy has have he her here him his home how i if in into is it its
just keep know last least left less let like little live long look looking love made make man many
may me meet meeting might more most much must my near never new next no nobody not nothing now of
off old on once one only or other our out over own people place play right said same saw say see
seen she should show small so some someone something soon still such take team than thanks that the
their them then there these they thing think this those three through time to today together told
tomorrow tonight too took two under until up us use very via want was watch way we week well went
were what when where which while who whom whose why will win with without woman won work world would
year yes yesterday you young your http https co rt image photo picture shows caption text
"""


def load_tokenizer(name: str) -> BertTokenizer:
    """The WordPiece tokenizer of a text encoder.

    Args:
        name: hub name or folder of a BERT, `minilm`, or `tiny`.

    Raises:
        InputError: no such model, or its folder has no vocabulary.
    """
    if name == "tiny":
        return BertTokenizer(vocab={token: place for place, token in enumerate(tiny_vocabulary())})
    folder = locate(name, "text.encoder")
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        raise InputError(
            f"text.encoder: {name}: expected tokenizer.json or vocab.txt beside the weights"
        )
    return BertTokenizer.from_pretrained(folder, local_files_only=True)


@lru_cache(maxsize=1)
def tiny_vocabulary() -> tuple[str, ...]:
    """The sub-words of the tiny encoder, by id, as the package ships them."""
    return tuple(TINY_VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1])


def compose_tiny_vocabulary(words: frozenset[str]) -> tuple[str, ...]:
    """The sub-words that the bundled file is made of, in its order.

    Characters and their `##` forms come first after the special tokens, so that any word in
    Latin letters, digits and usual signs can be spelled.

    Args:
        words: further whole words; they are lower-cased and split at punctuation as BERT does.
    """
    characters = string.ascii_lowercase + string.digits + string.punctuation + PUNCTUATION
    tokenizer = BertTokenizer(vocab={token: place for place, token in enumerate(SPECIAL_TOKENS)})
    backend = tokenizer.backend_tokenizer
    pieces = {
        piece
        for word in words.union(COMMON_WORDS.split())
        for piece, _ in backend.pre_tokenizer.pre_tokenize_str(
            backend.normalizer.normalize_str(word)
        )
    }
    return (
        *SPECIAL_TOKENS,
        *characters,
        *(f"##{character}" for character in characters),
        *SUFFIXES,
        *sorted(pieces.difference(characters)),
    )
