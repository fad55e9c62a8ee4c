"""`solve(start=)` and `Solution.seeing`: what was learned serves again, at the same k and at others."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.policies.tabular import check_pi_l

GAME = am.games.warehouse(num_zones=3)


@pytest.fixture(scope="module")
def few():
    return am.solve(GAME, 4)


class TestSeeing:
    def test_pi_g_is_read_at_the_nearest_counts(self, few):
        """Of 10 agents (5, 3, 2): 4/10 of them are (2, 1.2, .8), and the largest remainder is the last."""
        pair = few.seeing(10)
        counts = torch.tensor([[5, 3, 2], [10, 0, 0]])
        expected = few.law(torch.tensor([1, 2]), torch.tensor([[2, 1, 1], [4, 0, 0]]))
        assert torch.equal(pair.rule(torch.tensor([1, 2]), counts), expected)
        assert torch.equal(pair.dispatcher().act([1, 2], counts), expected.argmax(-1))

    def test_the_k_that_it_was_learned_for_changes_nothing(self, few):
        same = am.rollout(GAME, few.seeing(4), episodes=10, horizon=20)
        assert torch.equal(same.returns, am.rollout(GAME, few, episodes=10, horizon=20).returns)

    def test_fewer_and_more_agents_are_played(self, few):
        earned = {k: am.rollout(GAME, few.seeing(k), episodes=200, horizon=60).mean for k in (1, 4, 100)}
        assert earned[1] < earned[4] < earned[100]

    def test_a_memory_reads_its_belief(self):
        solution = am.solve(am.games.steer(), 3, observation="filter")
        assert solution.seeing(7).k == 7
        assert am.rollout(am.games.steer(), solution.seeing(7), episodes=5).k == 7

    def test_k_is_a_number_of_agents(self, few):
        with pytest.raises(ArgumentError, match="k must be"):
            few.seeing(0)


class TestStart:
    def test_an_equilibrium_is_left_as_it_is(self, few):
        again = am.solve(GAME, 4, start=few)
        assert len(again.history) == 2
        assert again.value == pytest.approx(few.value, abs=again.eta)
        assert again.history[0].value_before == pytest.approx(few.value, abs=1e-6)

    def test_a_solution_for_fewer_agents_begins_that_for_more(self, few):
        warm, cold = am.solve(GAME, 12, start=few), am.solve(GAME, 12)
        assert warm.value == pytest.approx(cold.value, rel=1e-3)
        assert len(warm.history) <= len(cold.history)
        assert warm.history[0].value_before > cold.history[0].value_before

    def test_a_rule_gives_its_local_policy(self):
        pair = heuristic_pair(GAME, 2, "hold", "walk")
        solution = am.solve(GAME, 2, start=pair, steps=1)
        assert torch.equal(check_pi_l(GAME, solution.pi_l), solution.pi_l)
        assert solution.converged or solution.history

    def test_lifted_functions_and_files_begin_too(self, few, tmp_path):
        few.save(tmp_path / "policy.npz")
        loaded = am.Solution.load(tmp_path / "policy.npz")
        warm, cold = (am.solve(GAME, 30, solver="lifted", start=start).value for start in (loaded, None))
        assert warm == pytest.approx(cold, rel=1e-3)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [({"start": 5}, "start"), ({"starts": 2}, "give one"), ({"game": am.games.warehouse()}, "pi_l")],
    )
    def test_what_does_not_fit_is_refused(self, few, arguments, message):
        asked = {"game": GAME, "k": 4, "start": few} | arguments
        with pytest.raises(AltMarlError, match=message):
            am.solve(**asked)

    def test_checkpoints_belong_to_a_start(self, few, tmp_path):
        am.solve(GAME, 4, start=few, checkpoints=tmp_path)
        again = am.solve(GAME, 4, start=am.solve(GAME, 4), checkpoints=tmp_path)  # an equal one
        assert len(again.history) == 2
        with pytest.raises(ArgumentError, match="start"):
            am.solve(GAME, 4, checkpoints=tmp_path)
