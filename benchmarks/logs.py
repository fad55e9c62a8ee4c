"""How long a log must be: warehouse games counted from logs of several lengths, solved, and played in the true game.

    python benchmarks/logs.py

A log follows k = 20 robots under random actions through one long run. For every length it prints the return of the
fitted game's pair in the true game (3,000 episodes), its share of what the true game's own pair earns there, and what
the log itself says of the uncertainty.
"""

import altmarl_torch as am

K, LENGTHS, SEEDS = 20, (10_000, 100_000, 1_000_000), (1, 2, 3)


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
            log = am.collect(game, K, steps=rows // K, seed=seed).transitions()
            fitted = am.estimate(log, gamma=game.gamma, n=game.n, initial=game.initial)
            pair = am.solve(fitted.game, K)
            earned = am.rollout(game, pair, episodes=3000, seed=7).mean
            spread = fitted.returns(pair, draws=20)
            errors = " ".join(f"{float(fitted.errors[name].max()):>10.3f}" for name in ("P_g", "P_l"))
            doubt = f"{spread.mean():.1f} +- {spread.std():.1f}"
            print(f"{rows:>9,} {seed:>4} {earned:>8.2f} {earned / own.mean:>8.2%} {errors} {doubt:>18}")


if __name__ == "__main__":
    main()
