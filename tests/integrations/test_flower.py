"""Flower: a learned pair that asks, chooses, sends and averages; with a grid of our own, and in Flower's simulation."""

import numpy as np
import pytest
import torch

pytest.importorskip("flwr")

import altmarl_torch as am
from altmarl_torch.integrations.flower import Orders, PairStrategy, situation
from altmarl_torch.policies import TabularPair


@pytest.fixture(autouse=True)
def inside_a_task(monkeypatch):
    """Flower 1.42 lets messages be made in a running task alone."""
    identity = pytest.importorskip("flwr.supercore.task_identity").TaskIdentity
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(identity, name, 1)


NODES, SHARES = [11, 22, 33, 44, 55, 66], (0.0, 0.5)


def hand_written(k=3):
    """Two global and three local states. pi_g: s_g' = 1 where two of the k or more are in state 2; pi_l: a_l = s_l."""
    simplex = am.CountSimplex(k, 3)
    pi_g = torch.nn.functional.one_hot((simplex.counts[:, 2] >= 2).long(), 2).double().expand(2, -1, -1)
    pi_l = torch.eye(3, dtype=torch.float64)[:, None].expand(3, 2, 3)
    return TabularPair(pi_g.contiguous(), pi_l.contiguous(), simplex)


class Clients:
    """A grid whose clients keep a number for a model, are in the states `s_l`, and add one to it in a round."""

    def __init__(self, s_l, silent=()):
        self.s_l, self.silent, self.models, self.queried = dict(zip(NODES, s_l, strict=True)), silent, {}, []
        self.uploading = set()

    def get_node_ids(self):
        return NODES

    def send_and_receive(self, messages, **_):
        return [reply for message in messages if (reply := self._answer(message)) is not None]

    def _answer(self, message):
        from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

        node = message.metadata.dst_node_id
        orders = Orders.of(message, 3)
        if orders.takes_over:
            self.models[node] = float(orders.arrays["w"].numpy()[0])
        if node in self.silent:
            return Message(Error(0, "away"), reply_to=message)
        if message.metadata.message_type == "query":
            self.queried.append(node)
            return situation(message, self.s_l[node])
        self.models[node] += 1 + orders.choose(self.s_l[node], node)
        content = {"metrics": MetricRecord({"num-examples": 1})}
        if orders.takes_part:
            self.uploading.add(node)
            content["arrays"] = ArrayRecord({"w": Array(np.array([self.models[node]]))})
        return Message(RecordDict(content), reply_to=message)


def run(strategy, grid, rounds):
    from flwr.app import Array, ArrayRecord

    return strategy.start(grid, ArrayRecord({"w": Array(np.array([5.0]))}), num_rounds=rounds)


def test_orders_and_averages_by_hand():
    """Everybody is in state 2, whose action is 2: models rise by 3 a round, from 5; half upload in state 1."""
    grid, strategy = Clients([2] * 6), PairStrategy(hand_written(), SHARES, seed=4)
    result = run(strategy, grid, 2)
    assert [(one.s_g, one.counts, one.a_g, one.taking_part) for one in strategy.rounds] == [
        (0, (0, 0, 3), 1, 0),
        (1, (0, 0, 3), 1, 3),
    ]
    assert strategy.s_g == 1
    assert set(grid.models.values()) == {11.0}
    assert result.arrays["w"].numpy().tolist() == [11.0]


def test_who_takes_part_takes_over_and_the_others_go_on():
    grid, strategy = Clients([0, 0, 0, 2, 2, 2]), PairStrategy(hand_written(), SHARES, start=1, seed=0)
    average = run(strategy, grid, 1).arrays
    assert len(grid.uploading) == 3
    assert average["w"].numpy()[0] == pytest.approx(np.mean([grid.models[node] for node in grid.uploading]))
    orders = {one.metadata.dst_node_id: Orders.of(one, 3) for one in strategy.configure_train(2, average, None, grid)}
    assert {node for node, told in orders.items() if told.takes_over} == grid.uploading


def test_clients_who_fail_are_missing_from_the_counts():
    grid, strategy = Clients([2] * 6, silent=NODES[:5]), PairStrategy(hand_written(6), SHARES, seed=0)
    run(strategy, grid, 1)
    assert strategy.rounds[0].counts == (0, 0, 1)
    assert grid.queried == [66]


def test_k_clients_are_asked_and_equal_seeds_ask_alike():
    asked = []
    for seed in (1, 1, 2):
        grid = Clients([0, 1, 2, 0, 1, 2])
        run(PairStrategy(hand_written(), SHARES, seed=seed), grid, 4)
        asked.append(grid.queried)
        assert all(len(set(grid.queried[start : start + 3])) == 3 for start in range(0, 12, 3))
    assert asked[0] == asked[1] != asked[2]


def test_choices_follow_the_law_of_the_own_state():
    orders = Orders(1, 0, ((0.25, 0.75), (1.0, 0.0)), None, False, False)
    drawn = [orders.choose(0, seed) for seed in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(0.75, abs=0.04)
    assert {orders.choose(1, seed) for seed in range(20)} == {0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shares": (0.5,)}, "shares must name 2"),
        ({"shares": (0.5, 1.5)}, "shares"),
        ({"start": 2}, "start"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_makes_no_strategy_is_refused(change, said):
    with pytest.raises(am.ArgumentError, match=said):
        PairStrategy(hand_written(), **{"shares": SHARES} | change)


def test_what_is_no_pair_is_refused():
    with pytest.raises(am.errors.PolicyError, match="pair must have k, pi_l"):
        PairStrategy("hold", SHARES)


@pytest.mark.parametrize("told", [3, -1])
def test_a_state_that_the_game_has_not_is_named_with_its_client(told):
    grid = Clients([told] * 6)
    with pytest.raises(am.ArgumentError, match=r"s_l of client \d\d"):
        run(PairStrategy(hand_written(), SHARES), grid, 1)


def test_a_message_by_others_is_refused():
    from flwr.app import Message, RecordDict

    with pytest.raises(am.ArgumentError, match="no orders of PairStrategy"):
        Orders.of(Message(RecordDict(), dst_node_id=1, message_type="train"), 3)
