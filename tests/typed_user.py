"""A user's file: the documented calls under `mypy --strict`, and at run time (`test_typed_user.py`)."""

import numpy as np
import torch

import altmarl_torch as am
from altmarl_torch.policies import Dispatcher


def build() -> am.Game:
    """Tables from arrays and lists."""
    choose = np.eye(2)
    P_g, P_l = np.stack([choose, choose]), np.tile(choose, (2, 2, 1, 1))
    return am.Game(P_g=P_g, P_l=P_l, r_g=[[0, 1], [0, 1]], r_l=np.zeros((2, 2, 2)), gamma=0.9, n=100, name="mine")


def control(dispatcher: Dispatcher) -> int:
    """A batch as lists, as arrays and as tensors, and one system alone."""
    for s_g, counts in (
        ([0], [[2, 0]]),
        (np.array([0]), np.array([[2, 0]])),
        (torch.tensor([0]), torch.tensor([[2, 0]])),
    ):
        dispatcher.reset(1)
        batch: torch.Tensor = dispatcher.act(s_g, counts)
    dispatcher.reset(1)
    alone: torch.Tensor = dispatcher.act(0, [2, 0])
    assert batch.tolist() == [int(alone)]
    return int(alone)


def main() -> float:
    """From tables to a certificate."""
    game = build().replace(r_l=lambda sl, sg, al: float(sl == sg))
    solution = am.solve(game, 2)
    control(solution.dispatcher(seed=0))
    rollouts = am.rollout(game, solution, episodes=4, horizon=10)
    certificate: am.Certificate = am.certify(game, solution)
    loaded: am.Game = am.Game.from_functions(
        P_g=lambda sg, ag: [1 - ag, ag],
        P_l=lambda sl, sg, al: [1 - al, al],
        r_g=lambda sg, ag: ag,
        r_l=lambda sl, sg, al: float(sl == sg),
        num_sg=2,
        num_sl=2,
        num_ag=2,
        num_al=2,
        gamma=0.9,
        n=100,
    )
    assert torch.equal(loaded.r_l, game.r_l)
    gap = certificate.nash_gap
    return rollouts.mean + (0.0 if gap is None else gap)


def slips(simulated: am.SimulatedGame) -> None:
    """Errors to the type checker, each of them: under --strict an ignore that silences nothing is an error itself."""
    am.solve(build(), 2, solvr="neural")  # type: ignore[call-overload]
    am.solve(build(), 2, solver="networks")  # type: ignore[call-overload]
    am.solve(build(), 2, steps="all")  # type: ignore[call-overload]
    am.solve(build(), 2, turns="both")  # type: ignore[call-overload]  # an option of simulators
    am.solve(simulated, 2, solver="neural")  # type: ignore[call-overload]  # an option of tables
    am.solve(simulated, 2, turn="both")  # type: ignore[call-overload]


def kinds(tables: am.Game, simulated: am.SimulatedGame) -> tuple[am.Solution, am.SimulatedSolution]:
    """What is solved says what comes back, and which options there are."""
    return am.solve(tables, range(1, 3), solver="neural", steps=1), am.solve(simulated, 2, turns="global", seed=3)


if __name__ == "__main__":
    print(main())
