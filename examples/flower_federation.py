"""Twenty clients of a Flower federation read handwritten digits; a learned pair coordinates them for ten rounds.

pip install 'altmarl-torch[flower]' && python examples/flower_federation.py    # in an environment of its own
"""

import flwr.app as fl
import torch
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

import altmarl_torch as am
from altmarl_torch.federated import MODES, START, Client, Federation, Setting, read_setup
from altmarl_torch.games.named.federated import TABLES
from altmarl_torch.integrations.flower import Orders, PairStrategy, situation

CLIENTS, K, ROUNDS = 20, 4, 10
OBSERVER, _ = read_setup(TABLES.with_suffix(".json"))
DIGITS = Federation(Setting(num_clients=CLIENTS), seed=0)
clients, servers = ClientApp(), ServerApp()


def packed(model: torch.Tensor) -> fl.ArrayRecord:
    """A model as Flower sends it."""
    return fl.ArrayRecord({"w": fl.Array(model.numpy())})


@clients.query()
@clients.train()
def work(message: fl.Message, context: fl.Context) -> fl.Message:
    """A client says how it is, or trains for as long as its situation asks for."""
    me, orders = (
        Client(DIGITS, int(context.node_config["partition-id"]), OBSERVER),
        Orders.of(message, OBSERVER.num_sl),
    )
    if orders.takes_over:
        context.state["model"] = orders.arrays
    model, server = (torch.tensor(one["w"].numpy()) for one in (context.state["model"], orders.arrays))
    s_l = me.situation(model, server)
    if message.metadata.message_type == "query":
        return situation(message, s_l)
    model = me.train(model, orders.choose(s_l, me.index), seed=ROUNDS * me.index + orders.server_round)
    context.state["model"] = packed(model)
    metrics = fl.MetricRecord({"num-examples": 1, "loss": float(me.loss(model))})
    return fl.Message(fl.RecordDict({"arrays": packed(model), "metrics": metrics}), reply_to=message)


@servers.main()
def serve(grid: Grid, context: fl.Context) -> None:
    """Learn a pair in the game that earlier federations left behind, and let it run this one."""
    solution = am.solve(am.games.federated(n=CLIENTS), k=K, solver="tabular")
    strategy = PairStrategy(solution, MODES, start=START, min_available_nodes=CLIENTS)
    model = strategy.start(grid, packed(DIGITS.server), num_rounds=ROUNDS).arrays["w"]
    right = (DIGITS.validation.x @ torch.tensor(model.numpy())).argmax(-1) == DIGITS.validation.y
    print("averaged:", *(f"{one.taking_part} of {CLIENTS}" for one in strategy.rounds), sep=" ")
    print(f"after ten rounds the server reads {float(right.double().mean()):.0%} of unseen digits", flush=True)


if __name__ == "__main__":
    run_simulation(servers, clients, CLIENTS)
