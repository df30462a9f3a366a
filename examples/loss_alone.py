"""The alignment's loss in a plain PyTorch loop: two linear layers learn to bring pairs together.

python examples/loss_alone.py
"""

import torch
from torch.nn.functional import normalize

import shapca

torch.manual_seed(0)
shared = torch.randn(280, 8)  # what a text and its picture have in common; the rest is their own
texts = torch.cat((shared, torch.randn(280, 24)), dim=1)
pictures = torch.cat((shared, torch.randn(280, 24)), dim=1)
of_text, of_picture = torch.nn.Linear(32, 16), torch.nn.Linear(32, 16)
optimiser = torch.optim.AdamW([*of_text.parameters(), *of_picture.parameters()], lr=1e-2)


def cosines(rows: torch.Tensor) -> torch.Tensor:
    """(k, k) pictures by texts; a true pair stands on the diagonal."""
    left = normalize(of_picture(pictures[rows]), dim=-1)
    return left @ normalize(of_text(texts[rows]), dim=-1).mT


for epoch in range(5):
    for rows in torch.randperm(len(shared)).split(28):
        similarity = cosines(rows)
        loss = shapca.shapley_contrastive_loss(
            similarity, temperature=0.3, estimator="exact", negatives="mean"
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        own = cosines(torch.arange(len(shared)))
        found = (own.argmax(1) == torch.arange(len(own))).float().mean()
    print(f"epoch {epoch + 1}: {found:.0%} of the pictures find their own text among {len(own)}")
