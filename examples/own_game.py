"""One's own game, and its dispatcher in a control loop: a charger that sends idle vehicles to where demand is.

python examples/own_game.py
"""

import numpy as np
import torch

import altmarl_torch as am

AREAS, VEHICLES, ASKED = 3, 200, 8


def charging_game() -> am.Game:
    """s_g is the area where charging is cheap, s_l where a vehicle is; a_g moves the price, a_l the vehicle."""
    stays_or_moves = np.zeros((AREAS, AREAS, 2, AREAS))  # [sl, sg, al, sl']
    for here in range(AREAS):
        stays_or_moves[here, :, 0, here] += 0.9
        stays_or_moves[here, :, 0, (here + 1) % AREAS] += 0.1
        stays_or_moves[here, :, 1, (here + 1) % AREAS] += 0.8
        stays_or_moves[here, :, 1, here] += 0.2
    price_follows = 0.8 * np.eye(AREAS)[None] + 0.2 * np.eye(AREAS)[:, None]  # [sg, ag, sg']
    charged = np.eye(AREAS)[:, :, None] - np.array([0.0, 0.1])  # [sl, sg, al]: one for being there, a tenth for moving
    moving_the_price = -0.2 * (1 - np.eye(AREAS))  # [sg, ag]
    return am.Game(
        P_g=price_follows, P_l=stays_or_moves, r_g=moving_the_price, r_l=charged, gamma=0.9, n=VEHICLES, name="charging"
    )


def main() -> None:
    """Solve it, then steer a fleet that this package knows nothing of: anybody's control loop."""
    game = charging_game()
    solution = am.solve(game, k=ASKED)
    print(solution, am.rollout(game, solution).mean)

    fleet, rng = np.zeros(VEHICLES, dtype=int), np.random.default_rng(0)  # all vehicles begin in area 0
    dispatcher, s_g = solution.dispatcher(), 2
    dispatcher.reset(1)
    for step in range(6):
        answers = fleet[rng.choice(VEHICLES, ASKED, replace=False)]
        counts = torch.from_numpy(np.bincount(answers, minlength=AREAS))
        a_g = int(dispatcher.act(torch.tensor([s_g]), counts[None])[0])
        print(f"step {step}: cheap in {s_g}, seen {counts.tolist()}, the price moves to {a_g}")
        actions = solution.pi_l[fleet, s_g].argmax(-1).numpy()
        laws = game.P_l[fleet, s_g, actions].numpy()
        fleet = (rng.random(VEHICLES)[:, None] > laws.cumsum(-1)).sum(-1)
        s_g = rng.choice(AREAS, p=game.P_g[s_g, a_g].numpy())


if __name__ == "__main__":
    main()
