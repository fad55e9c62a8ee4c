"""One client by itself, as it is in a federation whose clients are processes of their own (`integrations.flower`).

It has its part of the training digits, and the public ones; of the others and of the server it knows what it is sent.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.federated.simulation import Digits, Federation, losses, sgd_steps
from altmarl_torch.federated.situations import STEPS, Observer
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = ["Client"]


@dataclass(frozen=True)
class Client:
    """Client number `index` of a federation: its data, what it says of itself, and its training.

    Attributes:
        federation: whose split gives it its digits.
        index: its number, from 0 on.
        observer: tells its situation.
        data: its digits, `x [m, features]`.

    Raises:
        ArgumentError: the federation has no such client.
    """

    federation: Federation
    index: int
    observer: Observer
    data: Digits = field(init=False)

    def __post_init__(self) -> None:
        index = as_integer("index", self.index, 0, self.federation.setting.num_clients - 1, ArgumentError)
        object.__setattr__(self, "data", Digits(self.federation.data.x[index], self.federation.data.y[index]))

    def situation(self, model: Tensor, server: Tensor) -> int:
        """s_l of a model `[features, classes]`, beside the server's."""
        drift = torch.linalg.vector_norm(model - server)
        return int(self.observer.states(self.loss(model), drift))

    def loss(self, model: Tensor) -> Tensor:
        """The mean loss on the public digits, in nats: `[]`."""
        return losses(model, self.federation.probe)

    def train(self, model: Tensor, a_l: int, seed: int) -> Tensor:
        """The model after the local steps that a_l stands for, on digits drawn by the seed."""
        generator, setting = torch.Generator().manual_seed(as_seed(seed)), self.federation.setting
        for _ in range(STEPS[a_l]):
            some = torch.randint(len(self.data), (min(setting.batch, len(self.data)),), generator=generator)
            model = sgd_steps(model[None], self.data.x[None, some], self.data.y[None, some], setting.rate)[0]
        return model
