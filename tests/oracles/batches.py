"""One post at a time, one list at a time: what `EncodedSplit.collate` must give."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from shapca.data.schema import POS_TAGS, Example, Labels


def naive_post(
    example: Example,
    labels: Labels,
    tokenizer: PreTrainedTokenizerBase,
    context: str | None,
    *,
    max_length: int,
    encode: str,
) -> dict[str, Any]:
    """The fields of one post as plain lists, without padding."""
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    text: list[int] = []
    starts = []
    for word in example.words:
        starts.append(1 + len(text))
        text += tokenizer.encode(word, add_special_tokens=False) or [tokenizer.unk_token_id]
    text = text[: max_length - 2]
    starts = [start for start in starts if start <= len(text)]
    words = range(len(starts))
    bridge = [] if context is None else tokenizer.encode(context, add_special_tokens=False)
    fields: dict[str, Any] = {
        "word_starts": starts,
        "pos": [POS_TAGS.index(tag) for tag in example.pos[: len(starts)]],
    }
    if encode == "joint":
        bridge = bridge[: max(0, max_length - len(text) - 3)]
        fields["input_ids"] = [begin, *text, end] + ([*bridge, end] if bridge else [])
        fields["token_type_ids"] = [0] * (len(text) + 2) + [1] * (len(bridge) + bool(bridge))
        fields["context_positions"] = [len(text) + 2 + i for i in range(len(bridge))]
    else:
        bridge = bridge[: max_length - 2]
        fields["input_ids"] = [begin, *text, end]
        fields["token_type_ids"] = [0] * (len(text) + 2)
        fields["context_positions"] = [1 + i for i in range(len(bridge))]
        if context is not None:
            fields["context_input_ids"] = [begin, *bridge, end]
    fields["text_mask"] = [1 <= i <= len(text) for i in range(len(fields["input_ids"]))]
    if labels.task == "mner" and example.tags is not None:
        fields["tags"] = [labels.tags.index(tag) for tag in example.tags[: len(starts)]]
    if labels.task == "mre":
        (relation,) = example.relations
        label = labels.pair_labels.index(relation.type)
        cells = [[i in range(*relation.head) and j in range(*relation.tail) for j in words]
                 for i in words]  # fmt: skip
        fields["pair_mask"] = cells
        fields["pair_labels"] = [[label * cell for cell in row] for row in cells]
    if labels.task == "mjere":
        table = np.zeros((len(example.words),) * 2, dtype=int)
        for entity in example.entities:
            for i in range(*entity.span):
                for j in range(i, entity.end):
                    table[i, j] = labels.pair_labels.index(str(entity.type))
        for relation in example.relations:
            for i in range(*relation.head):
                for j in range(*relation.tail):
                    cell = min(i, j), max(i, j)
                    table[cell] = labels.pair_labels.index(relation.type)
        fields["pair_labels"] = table[: len(starts), : len(starts)].tolist()
        fields["pair_mask"] = [[i <= j for j in words] for i in words]
    return fields
