"""The warehouse in five minutes: solve it, ask how good the pair is, and compare it with what people would do by hand.

python examples/warehouse.py
"""

import altmarl_torch as am

EPISODES = 400


def main() -> None:
    """Solve, certify, and play on a thousand robots."""
    game = am.games.warehouse()
    print(game)
    solution = am.solve(game, k=10)
    print(solution)
    for update in solution.history:
        print(
            f"  {update.player:<6} {update.decision.value:<9} {update.value_before:.3f} -> {update.value_proposed:.3f}"
        )

    gap = am.certify(game, solution, parts=("global",)).global_gap
    print(f"the dispatcher could gain at most {gap:.2g} by deviating alone")

    hold = am.heuristics.heuristic_pair(game, 10, "hold", "walk")
    learned, by_hand = (am.rollout(game, pair, episodes=EPISODES, seed=1) for pair in (solution, hold))
    print(f"learned      {learned.mean:.1f} +- {learned.sem:.1f}")
    print(f"hold + walk  {by_hand.mean:.1f} +- {by_hand.sem:.1f}")

    remembering = am.solve(game, k=10, observation="filter")
    print(f"with memory  {am.rollout(game, remembering, episodes=EPISODES, seed=1).mean:.1f}")


if __name__ == "__main__":
    main()
