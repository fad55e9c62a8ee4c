"""A learner of one's own for the local agents of a simulator: rules, networks, files, what is no answer."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.learners.simulated.units import Units


@pytest.fixture
def quick(monkeypatch):
    for name, value in (("GLOBAL_STEPS", (30, 30)), ("EPISODES", 64)):
        monkeypatch.setattr(players, name, value)


GAME = am.games.continuous_warehouse(n=40)
WALK = am.simulators.rules.walk(GAME.offsets)


def flee(s_l, s_g):
    """Away from s_g, which nothing does worse than."""
    return torch.where(s_l[..., 0] > s_g[..., 0], 1, 2)


def played(pair):
    return am.rollout(GAME, pair, episodes=9, horizon=20).returns


def test_a_rule_is_judged_like_any_other_proposal(quick):
    asked = []

    def follow(problem, pi_l):
        asked.append((problem.game.n, problem.pair.k, problem.seed))
        return WALK

    solution = am.solve(GAME, 3, steps=2, l_learner=follow)
    assert [n for n, _, _ in asked] == [40] * len(asked)
    assert len({seed for *_, seed in asked}) == len(asked)
    local = next(update for update in solution.history if update.player == "local")
    assert local.adopted
    assert local.value_proposed > local.value_before + 10
    s_l, s_g = torch.rand(1, 7, 1), torch.zeros(1, 7, 1)
    assert torch.equal(solution.local_actions(s_l, s_g), WALK(s_l, s_g))


def test_a_network_is_kept_in_files_and_taken_up_again(quick, tmp_path):
    def learn(problem, pi_l):
        return problem.network()

    solution = am.solve(GAME, 3, steps=1, l_learner=learn, eta=1e9)
    whole = am.solve(GAME, 3, steps=1, l_learner=learn, checkpoints=tmp_path / "c")
    again = am.solve(GAME, 3, steps=1, l_learner=learn, checkpoints=tmp_path / "c")
    assert torch.equal(played(whole), played(again))
    assert not any(update.adopted for update in solution.history)
    with pytest.raises(am.ArgumentError, match="is of another call, with l_learner"):
        am.solve(GAME, 3, steps=1, checkpoints=tmp_path / "c")


def test_a_run_that_is_broken_off_after_a_rule_was_taken_goes_on_to_the_same_bits(quick, tmp_path):
    def follow(problem, pi_l):
        return WALK

    def stop(update):
        if update.player == "local":
            raise KeyboardInterrupt

    whole = am.solve(GAME, 3, steps=2, l_learner=follow)
    broken = am.solve(GAME, 3, steps=2, l_learner=follow, checkpoints=tmp_path / "c", callback=stop)
    assert broken.interrupted
    assert broken.history[-1].adopted
    again = am.solve(GAME, 3, steps=2, l_learner=follow, checkpoints=tmp_path / "c")
    assert [update.value_proposed for update in again.history] == [update.value_proposed for update in whole.history]
    assert torch.equal(played(again), played(whole))
    whole.save(tmp_path / "policy.npz")
    with pytest.raises(am.FileFormatError, match="a rule of your own, which is in no file"):
        am.SimulatedSolution.load(tmp_path / "policy.npz", GAME)


def test_a_network_that_is_trained_further_leaves_what_was_proposed_as_it_was(quick):
    kept = []

    def learn(problem, pi_l):
        kept.append(problem.network())
        return kept[0]

    away = am.simulators.RulePair(3, am.simulators.heuristic_pairs(GAME, 3)["hold + walk"].rule_g, flee)
    solution = am.solve(GAME, 3, start=away, steps=1, turns="local", l_learner=learn, eta=0.0)
    assert solution.history[0].adopted
    states = torch.linspace(-1, 1, 9).unsqueeze(-1), torch.zeros(9, 1)
    before = solution.pi_l.network(*states).clone()
    with torch.no_grad():
        for weight in kept[0].parameters():
            weight.zero_()
    assert torch.equal(solution.pi_l.network(*states), before)  # what files keep


def test_the_networks_answer_alone_is_the_action(tmp_path):
    """Whatever r_l says: files remember that."""
    from altmarl_torch.learners.simulated.features import Frame
    from altmarl_torch.learners.simulated.networks import LocalValues
    from altmarl_torch.learners.simulated.policies import GreedyLocal, UniformGlobal

    frame = Frame(am.Box(-2, 2), torch.zeros(2, 1))
    network = LocalValues(frame, frame, 3, torch.Generator().manual_seed(0)).eval()
    policy = GreedyLocal(GAME, network, Units(1.0), frame, frame, is_whole=True)
    s_l, s_g = torch.linspace(-2, 2, 401).unsqueeze(-1), torch.zeros(401, 1)
    with torch.no_grad():
        wanted = network(s_l, s_g).argmax(-1)
    assert torch.equal(policy.actions(s_l, s_g), wanted)
    history, facts = (), {"k": 3, "value": 0.0, "eta": 0.0, "converged": True, "seed": 0, "population": 40}
    solution = am.SimulatedSolution(
        pi_g=UniformGlobal(GAME), pi_l=policy, history=history, game_name=GAME.name, observation="population",
        phase_seconds={}, **facts,
    )  # fmt: skip
    solution.save(tmp_path / "policy.npz")
    read = am.SimulatedSolution.load(tmp_path / "policy.npz", GAME)
    assert torch.equal(read.local_actions(s_l, s_g), wanted)


def test_what_is_no_answer_is_told_in_words(quick):
    for found, message in (
        (3, "l_learner returned a int; expected problem.network"),
        (lambda s_l, s_g: s_l, r"l_learner's rule answers states of \[3, 2, 1\] with \[3, 2, 1\]"),
        (lambda s_l, s_g: None, "with NoneType"),
        (lambda s_l, s_g: torch.full(s_l.shape[:-1], 7), r"expected \[3, 2\], actions of Discrete\(num=3\)"),
    ):
        with pytest.raises(am.ArgumentError, match=message):
            am.solve(GAME, 3, steps=1, l_learner=lambda problem, pi_l, found=found: found)
    with pytest.raises(am.ArgumentError, match="l_learner must be 'auto', or a function"):
        am.solve(GAME, 3, l_learner="dp")
    with pytest.raises(am.ArgumentError, match="needs finitely many local actions"):
        am.solve(am.games.linear_quadratic(n=9), 3, l_learner=lambda problem, pi_l: WALK)
