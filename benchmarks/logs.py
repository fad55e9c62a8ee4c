"""How long a log must be: warehouse games counted from logs of several lengths, solved, and played in the true game.

    python benchmarks/logs.py

A log follows k = 20 robots under random actions through one long run.  For every length it prints the return of the
fitted game's pair in the true game (3,000 episodes), its share of what the true game's own pair earns there, and what
the log itself says of the uncertainty.
"""

import numpy as np

import altmarl_torch as am

K, LENGTHS, SEEDS = 20, (10_000, 100_000, 1_000_000), (1, 2, 3)


def log(game: am.Game, rows: int, seed: int) -> dict[str, np.ndarray]:
    """A run of rows / K steps: columns of a log."""
    draw, steps = np.random.default_rng(seed), rows // K
    to_sg, to_sl = game.P_g.numpy().cumsum(-1), game.P_l.numpy().cumsum(-1)
    sg, ag = np.zeros(steps + 1, int), draw.integers(0, game.num_ag, steps)
    sl, al = np.zeros((steps + 1, K), int), draw.integers(0, game.num_al, (steps, K))
    sg[0], sl[0] = draw.integers(game.num_sg), draw.integers(0, game.num_sl, K)
    for t in range(steps):
        sg[t + 1] = min((to_sg[sg[t], ag[t]] < draw.random()).sum(), game.num_sg - 1)
        sl[t + 1] = (to_sl[sl[t], sg[t], al[t]] < draw.random((K, 1))).sum(-1).clip(max=game.num_sl - 1)
    each = np.repeat(np.arange(steps), K)
    columns = {"episode": 0 * each, "step": each, "sg": sg[each], "ag": ag[each], "sg_next": sg[each + 1]}
    columns |= {"sl": sl[:-1].ravel(), "al": al.ravel(), "sl_next": sl[1:].ravel()}
    columns["r_g"] = game.r_g.numpy()[columns["sg"], columns["ag"]]
    columns["r_l"] = game.r_l.numpy()[columns["sl"], columns["sg"], columns["al"]]
    return columns


def main() -> None:
    """Print the table of docs/games-from-data.md."""
    game = am.games.warehouse()
    own = am.rollout(game, am.solve(game, K), episodes=3000, seed=7)
    print(f"the true game's pair: {own.mean:.2f} +- {own.sem:.2f}")
    print(
        f"{'rows':>9} {'seed':>4} {'return':>8} {'share':>8} {'se of P_g':>10} {'se of P_l':>10} {'in other games':>18}"
    )
    for rows in LENGTHS:
        for seed in SEEDS:
            fitted = am.estimate(log(game, rows, seed), gamma=game.gamma, n=game.n, initial=game.initial)
            pair = am.solve(fitted.game, K)
            earned = am.rollout(game, pair, episodes=3000, seed=7).mean
            spread = fitted.returns(pair, draws=20)
            errors = " ".join(f"{float(fitted.errors[name].max()):>10.3f}" for name in ("P_g", "P_l"))
            doubt = f"{spread.mean():.1f} +- {spread.std():.1f}"
            print(f"{rows:>9,} {seed:>4} {earned:>8.2f} {earned / own.mean:>8.2%} {errors} {doubt:>18}")


if __name__ == "__main__":
    main()
