"""Flower (extra `flower`): a learned pair runs a real federation, round by round.

In round t the server is the global agent and the clients are the local agents (Example 2.6 of the paper):

    ask       k clients, drawn without replacement, for their states s_l         a message `query`
    choose    a_g by pi_g, from s_g and the counts of their answers
    send      s_g, and the row pi_l(. | ., s_g), to every client                 a message `train`
    train     every client draws its action from its own state's law, and trains
    average   a share of the clients, drawn anew and told so, uploads; with the next message they take over the average,
              and the others go on with models of their own
    follow    s_g' from s_g, a_g and the average

`PairStrategy` is a strategy of Flower's message API, for `strategy.start(grid, ..)` in a ServerApp. A ClientApp reads
its orders with `Orders.of(message)`, and answers a query with `situation(message, s_l)`. Clients that do not answer, or
fail, are missing from the counts, as every dispatcher here allows (`policies.answers`).

Flower 1.42 wants other versions of rich, protobuf and packaging than other partners do: it has an environment of its
own.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from altmarl_torch.errors import ArgumentError
from altmarl_torch.policies.base import PolicyPair, check_pair, cumulative, draw
from altmarl_torch.support.extras import require
from altmarl_torch.support.tables import as_integer, as_number, as_seed

app, strategies = require("flwr.app", "flower"), require("flwr.serverapp.strategy", "flower")
sample_nodes = require("flwr.serverapp.strategy.strategy_utils", "flower").sample_nodes
FedAvg: Any = strategies.FedAvg

__all__ = ["Orders", "PairStrategy", "Round", "situation"]

SITUATION = "s_l"
"""The metric that answers a query."""

Follow = Callable[[int, int, Any], int]
"""s_g' from s_g, a_g and the server's arrays."""


@dataclass(frozen=True)
class Round:
    """What the server saw and did in a round.

    Attributes:
        s_g: its state.
        counts: how many of those who answered were in each state.
        a_g: its action.
        taking_part: how many clients were to upload.
    """

    s_g: int
    counts: tuple[int, ...]
    a_g: int
    taking_part: int


class PairStrategy(FedAvg):
    """A Flower strategy that asks k clients, acts by pi_g, and lets clients act by pi_l (module docstring).

    Args:
        pair: what was learned, for k clients.
        shares: the share of the clients whose models are averaged, in each global state: `[sg]`.
        start: s_g of the first round.
        follow: s_g' from s_g, a_g and the server's model after the round (an ArrayRecord); None: s_g' = a_g.
        seed: of all that the server draws.
        fedavg: what Flower's FedAvg takes, such as `min_available_nodes` and `fraction_evaluate`.

    Attributes:
        rounds: what was seen and done, a `Round` each.

    Raises:
        MissingExtraError: Flower is not installed.
        PolicyError: the pair is none.
        ArgumentError: a share, the start or the seed is out of range.
    """

    def __init__(
        self,
        pair: PolicyPair,
        shares: Sequence[float],
        *,
        start: int = 0,
        follow: Follow | None = None,
        seed: int = 0,
        **fedavg: Any,
    ) -> None:
        check_pair("pair", pair)
        super().__init__(**{"fraction_evaluate": 0.0, "min_available_nodes": pair.k} | fedavg)
        num_sg = pair.pi_l.shape[1]
        if len(shares) != num_sg:
            raise ArgumentError(f"shares must name {num_sg}, one for each global state, not {len(shares)}")
        self._shares = [as_number("shares", share, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError) for share in shares]
        self._pair, self._follow = pair, follow or (lambda s_g, a_g, arrays: a_g)
        self._generator = torch.Generator().manual_seed(as_seed(seed))
        self._dispatcher = pair.dispatcher(as_seed(seed))
        self._dispatcher.reset(1)
        self.s_g = as_integer("start", start, 0, num_sg - 1, ArgumentError)
        self.rounds: list[Round] = []
        self._met: set[int] = set()
        self._taking_part: set[int] = set()
        self._latest: Any = None

    def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Iterable[Any]:
        """Ask, choose, and write everybody's orders."""
        self._latest = arrays
        nodes = sorted(sample_nodes(grid, self.min_available_nodes, 0)[1])
        behind = self._taking_part | (set(nodes) - self._met)
        counts = self._ask(server_round, arrays, behind, nodes, grid)
        a_g = int(self._dispatcher.act([self.s_g], [counts]))
        number = round(self._shares[self.s_g] * len(nodes))
        self._taking_part, self._met = set(self._draw(nodes, number)), set(nodes)
        self.rounds.append(Round(self.s_g, tuple(counts), a_g, number))
        return [
            self._message("train", node, server_round, arrays, node in behind, node in self._taking_part)
            for node in nodes
        ]

    def aggregate_train(self, server_round: int, replies: Iterable[Any]) -> tuple[Any, Any]:
        """The average of those who took part; None where nobody did. Then s_g' follows."""
        came = [reply for reply in replies if reply.metadata.src_node_id in self._taking_part]
        arrays, metrics = super().aggregate_train(server_round, came)
        following = self._follow(self.s_g, self.rounds[-1].a_g, self._latest if arrays is None else arrays)
        self.s_g = as_integer("s_g after the round", following, 0, len(self._shares) - 1, ArgumentError)
        return arrays, metrics

    def _ask(self, server_round: int, arrays: Any, behind: set[int], nodes: list[int], grid: Any) -> list[int]:
        """Counts of the answers of k clients: `[sl]`."""
        asked = self._draw(nodes, min(self._pair.k, len(nodes)))
        messages = [self._message("query", node, server_round, arrays, node in behind) for node in asked]
        counts = [0] * len(self._pair.pi_l)
        for reply in grid.send_and_receive(messages):
            if not reply.has_error():
                counts[self._state_in(reply)] += 1
        return counts

    def _state_in(self, reply: Any) -> int:
        """The state that a client tells."""
        told = [record[SITUATION] for record in reply.content.metric_records.values() if SITUATION in record]
        name = f"s_l of client {reply.metadata.src_node_id}"
        if len(told) != 1:
            raise ArgumentError(f"{name} is missing: it answers a query with situation(message, s_l)")
        return as_integer(name, told[0], 0, len(self._pair.pi_l) - 1, ArgumentError)

    def _draw(self, nodes: list[int], number: int) -> list[int]:
        order = torch.randperm(len(nodes), generator=self._generator)
        return [nodes[index] for index in order[:number].tolist()]

    def _message(
        self, kind: str, node: int, server_round: int, arrays: Any, takes_over: bool, takes_part: bool = False
    ) -> Any:
        """Orders for a client."""
        law = self._pair.pi_l[:, self.s_g].double().flatten().tolist()
        told = {"server-round": server_round, "s_g": self.s_g, "pi_l": law}
        told |= {"takes-over": takes_over, "takes-part": takes_part}
        records = {self.configrecord_key: app.ConfigRecord(told), self.arrayrecord_key: arrays}
        return app.Message(content=app.RecordDict(records), message_type=kind, dst_node_id=node)


@dataclass(frozen=True)
class Orders:
    """What a client is told in a round.

    Attributes:
        server_round: the number of the round, from 1 on.
        s_g: the global state.
        law: of its action in each of its states, `[sl, al]`.
        arrays: the server's model (an ArrayRecord).
        takes_over: whether that is now the client's model too; otherwise it goes on with its own.
        takes_part: whether its model is averaged after this round, so that it must be in its reply.
    """

    server_round: int
    s_g: int
    law: tuple[tuple[float, ...], ...]
    arrays: Any
    takes_over: bool
    takes_part: bool

    @classmethod
    def of(cls, message: Any, num_sl: int) -> "Orders":
        """Read a message of `PairStrategy` in a federation of `num_sl` local states.

        Raises:
            ArgumentError: it is none, or not of so many states.
        """
        told = next((one for one in message.content.config_records.values() if "pi_l" in one), None)
        if told is None or len(told["pi_l"]) % num_sl or not message.content.array_records:
            raise ArgumentError(f"the message holds no orders of PairStrategy for {num_sl} local states")
        width = len(told["pi_l"]) // num_sl
        law = tuple(tuple(told["pi_l"][start : start + width]) for start in range(0, len(told["pi_l"]), width))
        arrays = next(iter(message.content.array_records.values()))
        return cls(told["server-round"], told["s_g"], law, arrays, told["takes-over"], told["takes-part"])

    def choose(self, s_l: int, seed: int) -> int:
        """A draw of a_l from the law of the state s_l; `seed` is the client's own, and each round draws anew."""
        as_integer("s_l", s_l, 0, len(self.law) - 1, ArgumentError)
        entropy = np.random.SeedSequence([as_seed(seed), self.server_round])
        generator = torch.Generator().manual_seed(int(entropy.generate_state(1)[0]))
        return int(draw(cumulative(torch.tensor([self.law[s_l]], dtype=torch.float64)), generator))


def situation(message: Any, s_l: int) -> Any:
    """A client's answer to a query: its state s_l."""
    return app.Message(app.RecordDict({"metrics": app.MetricRecord({SITUATION: int(s_l)})}), reply_to=message)
