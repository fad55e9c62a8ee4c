"""Laws that are hard to draw from."""

import torch


def laws_of_types(num_types, num_x, num_sg=2, seed=0):
    """Laws `[sg, sl, sl']` of agents who never change their type, with impossible moves within it."""
    laws = torch.zeros(num_sg, num_types * num_x, num_types * num_x, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for kind in range(num_types):
        own = slice(kind * num_x, (kind + 1) * num_x)
        block = torch.rand(num_sg, num_x, num_x, generator=generator, dtype=torch.float64)
        block *= (block > 0.4) | torch.eye(num_x, dtype=torch.bool)
        laws[:, own, own] = block / block.sum(-1, keepdim=True)
    return laws
