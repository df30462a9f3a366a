"""What the bundled vocabulary of the text encoder `tiny` is made of."""

import string

from transformers import BertTokenizer

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


def compose_tiny_vocabulary(words: frozenset[str]) -> tuple[str, ...]:
    """The sub-words that the bundled file is made of, in its order.

    Characters and their `##` forms come first after the special tokens, so that any word in
    Latin letters, digits and usual signs can be spelled.

    Args:
        words: Further whole words; they are lower-cased and split at punctuation as BERT does.
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
