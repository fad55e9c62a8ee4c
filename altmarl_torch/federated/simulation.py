"""Federated averaging on handwritten digits: n clients with unlike data, simulated for real.

n clients hold the digits of a training set, each m of them, and each has a model of its own: softmax regression,
w_i `[features, classes]`, on the 64 pixels and a constant. The server holds w, an average of models. In one round

    train        w_i <- w_i - eta grad L_i(w_i; a few of client i's digits),    E_i times, for every i
    average      a random share C of the clients uploads, w <- mean of their w_i, and takes that over, w_i <- w
    come and go  every client is replaced with a small probability: by one with the same data and an untrained model

C = 1 with equal E_i is FedAvg (McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized
Data*, AISTATS 2017) with full participation, 0 < C < 1 is its partial participation, and C = 0 is a round without
communication. Who does not take part goes on with its own model, so models drift apart between the averages, each
towards its own data (Li et al., *Federated Optimization in Heterogeneous Networks*, MLSys 2020).

**Unlike data** (Hsu, Qi and Brown, *Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification*, 2019): client i draws shares of the classes q_i ~ Dirichlet(alpha, .., alpha) and then its m digits,
one by one, of a class drawn from q_i among the classes that still have digits.  alpha = infinity would give everybody
the same shares; at alpha = 0.1 most clients know one or two digits.

**Why softmax regression.**  Its loss L is convex, so by Jensen's inequality

    L(mean_i w_i)  <=  mean_i L(w_i):

the mean loss of the clients' models bounds that of their average, and whoever lowers the one serves the other.

All draws come from generators of their own (data, models, participation, who leaves, batches), all derived from one
seed: two schedules under one seed meet the same clients, the same leavers and the same lots.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import as_integer, as_number, as_seed

__all__ = ["Digits", "Federation", "Setting", "average", "dirichlet_split", "load_digits", "losses", "sgd_steps"]

NUM_CLASSES = 10
PROBE, VALIDATION = 150, 300
"""Digits of the public probe set, and those by which everything is judged; the rest is for training."""

LARGEST_PIXEL = 16.0


@dataclass(frozen=True)
class Setting:
    """How the clients are set up and trained; the numbers of the shipped game are the defaults.

    Attributes:
        num_clients: n.
        alpha: of the Dirichlet split; the smaller, the more unlike the clients.
        rate: eta, the step size of local SGD.
        batch: digits per local step, drawn with replacement; all m where it is at least m.
        churn: the probability that a client is replaced after a round.
        spread: standard deviation of an untrained model's weights.

    Raises:
        ArgumentError: a number is out of its range.
    """

    num_clients: int = 100
    alpha: float = 0.3
    rate: float = 0.5
    batch: int = 5
    churn: float = 0.05
    spread: float = 0.05

    def __post_init__(self) -> None:
        as_integer("num_clients", self.num_clients, 1, math.inf, ArgumentError)
        as_integer("batch", self.batch, 1, math.inf, ArgumentError)
        for name in ("alpha", "rate"):
            as_number(name, getattr(self, name), "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
        as_number("spread", self.spread, "[0, inf)", lambda x: 0 <= x < math.inf, ArgumentError)
        as_number("churn", self.churn, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)


@dataclass(frozen=True, eq=False)
class Digits:
    """Images and their labels: `x [items, 65]`, pixels in [0, 1] and a constant 1, and `y [items]`, whole numbers."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def part(self, index: Tensor) -> "Digits":
        """Those with the given numbers; an index `[clients, m]` gives `x [clients, m, 65]`."""
        return Digits(self.x[index], self.y[index])


def load_digits() -> Digits:
    """The 1,797 digits of 8 x 8 pixels that come with scikit-learn, in its order.

    Raises:
        ArgumentError: scikit-learn is not installed; the message says how to install it.
    """
    try:
        from sklearn.datasets import load_digits as read_digits
    except ImportError as cause:
        raise ArgumentError(
            "the digits come with scikit-learn, which is missing; pip install 'altmarl-torch[federated]'"
        ) from cause
    x, y = read_digits(return_X_y=True)
    pixels = torch.from_numpy(x).double() / LARGEST_PIXEL
    return Digits(torch.cat([pixels, torch.ones(len(pixels), 1, dtype=torch.float64)], 1), torch.from_numpy(y).long())


def dirichlet_split(labels: Tensor, num_clients: int, alpha: float, seed: int) -> Tensor:
    """Deal the items with `labels [items]` to clients with unlike classes: their numbers, `[clients, m]`.

    Every client gets m = floor(items / clients), no item is dealt twice, and up to clients - 1 are left over.

    Raises:
        ArgumentError: there are fewer items than clients, or a number is out of its range.
    """
    num_clients = as_integer("num_clients", num_clients, 1, math.inf, ArgumentError)
    alpha = as_number("alpha", alpha, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
    if len(labels) < num_clients:
        raise ArgumentError(f"{len(labels)} items cannot be dealt to {num_clients} clients")
    generator = np.random.default_rng(as_seed(seed))
    shuffled = generator.permutation(len(labels))
    pools = [shuffled[labels.numpy()[shuffled] == label].tolist() for label in range(int(labels.max()) + 1)]
    shares = generator.dirichlet([alpha] * len(pools), num_clients)
    each = len(labels) // num_clients
    return torch.tensor([[_deal(pools, q, generator) for _ in range(each)] for q in shares])


def _deal(pools: list[list[int]], shares: np.ndarray, generator: np.random.Generator) -> int:
    """Take one item of a class drawn from `shares`, among the classes that have any left."""
    weights = np.array([share if pool else 0.0 for share, pool in zip(shares, pools, strict=True)])
    if not weights.sum():  # the client's classes are used up: of any other, by what is left
        weights = np.array([len(pool) for pool in pools], dtype=float)
    return pools[generator.choice(len(pools), p=weights / weights.sum())].pop()


def losses(models: Tensor, digits: Digits) -> Tensor:
    """Mean cross-entropy in nats of each of `models [..., features, classes]` on all of `digits`: `[...]`."""
    logits = digits.x @ models
    chosen = logits.gather(-1, digits.y.expand(logits.shape[:-1])[..., None])[..., 0]
    return (logits.logsumexp(-1) - chosen).mean(-1)


def sgd_steps(models: Tensor, x: Tensor, y: Tensor, rate: float) -> Tensor:
    """One step of gradient descent for every client at once: `[clients, features, classes]`.

    `x [clients, b, features]` and `y [clients, b]` are the digits of the step.
    """
    error = torch.softmax(x @ models, -1)
    error.scatter_add_(-1, y[..., None], torch.full_like(y, -1, dtype=error.dtype)[..., None])
    return models - rate / x.shape[1] * (x.transpose(1, 2) @ error)


def average(models: Tensor, taking_part: Tensor, server: Tensor) -> Tensor:
    """The mean of the models that take part (clients have equally many digits), or `server` where none does."""
    return models[taking_part].mean(0) if bool(taking_part.any()) else server


@dataclass(eq=False)
class Federation:
    """The clients, the server and their models, round by round.

    Attributes:
        setting: how all is set up.
        seed: of the split, the models and all that happens.
        digits: all images; None loads scikit-learn's.
        models: `[clients, features, classes]`, the clients'.
        server: `[features, classes]`, the last average; untrained before the first.
        data: the clients' digits, `x [clients, m, features]`.
        probe: the public digits on which a client can measure its model.
        validation: the digits that nobody trains on or looks at: by these all is judged.
    """

    setting: Setting
    seed: int
    digits: Digits | None = None
    models: Tensor = field(init=False)
    server: Tensor = field(init=False)
    data: Digits = field(init=False)
    probe: Digits = field(init=False)
    validation: Digits = field(init=False)

    def __post_init__(self) -> None:
        digits = load_digits() if self.digits is None else self.digits
        split, *seeds = np.random.SeedSequence(as_seed(self.seed)).generate_state(6).tolist()
        self._weights, self._lots, self._leavers, self._batches, order = (
            torch.Generator().manual_seed(number) for number in seeds
        )
        index = torch.randperm(len(digits), generator=order)
        self.probe, self.validation = digits.part(index[:PROBE]), digits.part(index[PROBE : PROBE + VALIDATION])
        training = digits.part(index[PROBE + VALIDATION :])
        setting = self.setting
        self.data = training.part(dirichlet_split(training.y, setting.num_clients, setting.alpha, split))
        self.server = self._untrained(1)[0]
        self.models = self.server.repeat(setting.num_clients, 1, 1)

    def round(self, steps: Tensor, share: float) -> None:
        """Train for `steps [clients]` local steps, average a share C of the clients, and let some come and go."""
        self.train(steps)
        self.communicate(share)
        self._come_and_go()

    def train(self, steps: Tensor) -> None:
        """Local SGD: client i makes `steps[i]` steps."""
        for done in range(int(steps.max())):
            x, y = self._batch()
            stepped = sgd_steps(self.models, x, y, self.setting.rate)
            self.models = torch.where((steps > done)[:, None, None], stepped, self.models)

    def communicate(self, share: float) -> None:
        """A random part of the clients, round(share n) of them, upload their models and take over the average."""
        clients = self.setting.num_clients
        lots = torch.rand(clients, generator=self._lots, dtype=torch.float64)
        taking_part = lots.argsort().argsort() < round(share * clients)
        self.server = average(self.models, taking_part, self.server)
        self.models = torch.where(taking_part[:, None, None], self.server, self.models)

    def drift(self) -> Tensor:
        """How far each client's model is from the server's: `[clients]`, Euclidean."""
        apart: Tensor = torch.linalg.vector_norm(self.models - self.server, dim=(1, 2))
        return apart

    def accuracy(self) -> float:
        """Share of the validation digits that the server's model reads rightly."""
        return float(((self.validation.x @ self.server).argmax(-1) == self.validation.y).double().mean())

    def _come_and_go(self) -> None:
        leave = torch.rand(self.setting.num_clients, generator=self._leavers, dtype=torch.float64) < self.setting.churn
        self.models = torch.where(leave[:, None, None], self._untrained(self.setting.num_clients), self.models)

    def _untrained(self, number: int) -> Tensor:
        shape = (number, self.data.x.shape[-1], NUM_CLASSES)
        return self.setting.spread * torch.randn(shape, generator=self._weights, dtype=torch.float64)

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The digits of one step: `x [clients, b, features]`, `y [clients, b]`."""
        clients, each = self.data.y.shape
        if self.setting.batch >= each:
            return self.data.x, self.data.y
        index = torch.randint(each, (clients, self.setting.batch), generator=self._batches)
        return self.data.x.gather(1, index[..., None].expand(-1, -1, self.data.x.shape[-1])), self.data.y.gather(
            1, index
        )
