"""L-LEARN of Algorithm 2, part by part: which candidate, what is lost, what is given up, which settings reach UCFH."""

import itertools

import pytest
import torch
from oracles.chains import any_game, any_pi_g, by_mode
from oracles.surrogate import joint_value as brute_force_value
from oracles.surrogate import uniform_mean

import altmarl_torch as am
from altmarl_torch.alternation.players.tabular import ChainLocalLearner, TabularMemory
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import steer
from altmarl_torch.learners.chains.projection import ascend, projections
from altmarl_torch.operators.surrogate import SurrogateCache
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import ChainSettings, chain_l_learn, ucfh

K = 3
ROUGH = {"epsilon": 1.0, "max_episodes": 3000}


def instance(seed, objective="team", **settings):
    """A game of rewards of both signs, with little learned, so that much is left to the projection and the ascent."""
    game = any_game(seed, (2, 2, 2, 3), "full", 0.5).replace(initial=am.InitialLaw.uniform(2, 2))
    pi_g = any_pi_g(game, K, seed, "certain")
    return game, pi_g, chain_l_learn(game, pi_g, K, objective=objective, settings=ChainSettings(**ROUGH | settings))


def worth(game, pi_g, objective="team"):
    """Brute force: the joint value of a local policy, or that of one agent's rewards."""
    judged = game if objective == "team" else game.replace(r_g=torch.zeros(2, 2))
    return lambda pi_l: uniform_mean(brute_force_value(judged, pi_g, pi_l, K), K, 2)


@pytest.mark.parametrize(("seed", "objective", "better"), [(6, "team", 1), (16, "team", 0), (54, "own", 0)])
def test_without_ascent_it_is_the_better_candidate_by_exact_value(seed, objective, better):
    game, pi_g, found = instance(seed, objective, ascent=False)
    candidates = projections(found.chain, found.learned.policy, found.learned.shares, uniform_local(game))
    values = [worth(game, pi_g, objective)(candidate) for candidate in candidates]
    assert values[better] > values[1 - better] + 1e-3
    assert torch.equal(found.pi_l, candidates[better])
    assert found.value == pytest.approx(max(values), abs=1e-9)
    assert found.joint.mean == pytest.approx(worth(game, pi_g)(found.pi_l), abs=1e-9)
    assert found.lost == found.chain_value - found.chain.value(found.chain.spread(found.pi_l))


@pytest.mark.parametrize("seed", [16, 31, 46])
def test_ascent_starts_at_the_projection_and_what_is_lost_is_told_of_that(seed):
    _, _, projected = instance(seed, ascent=False)
    game, pi_g, found = instance(seed)
    climbed = ascend(worth(game, pi_g), projected.pi_l, margin=2e-7 * game.v_max)
    assert not torch.equal(found.pi_l, projected.pi_l)
    assert torch.equal(found.pi_l, climbed.pi_l)
    assert found.value > projected.value
    assert found.lost == projected.lost


@pytest.mark.parametrize("seed", [3, 16, 28, 46])
def test_what_own_rewards_give_up_is_what_ascent_for_the_team_adds(seed):
    game, pi_g, found = instance(seed, "own")
    team = worth(game, pi_g)
    climbed = ascend(team, found.pi_l, margin=2e-7 * game.v_max)
    assert found.given_up == pytest.approx(climbed.value - team(found.pi_l), abs=1e-8)
    assert found.value == pytest.approx(worth(game, pi_g, "own")(found.pi_l), abs=1e-9)
    for sl, sg, action in itertools.product(range(2), range(2), range(3)):
        actions = found.pi_l.argmax(-1)
        actions[sl, sg] = action
        assert worth(game, pi_g, "own")(deterministic_local(actions, 3)) <= found.value + 1e-6 * game.v_max


@pytest.mark.parametrize("objective", ["team", "own"])
def test_the_papers_epsilon_is_in_units_of_value_whatever_the_rewards_units(objective):
    """1/sqrt(k) of the largest value above the lowest: that of H rounds of the ranges of all stages."""
    game = steer().replace(r_g=0.4 * steer().r_g, r_l=0.4 * steer().r_l)
    found = chain_l_learn(game, by_mode(game, K), K, objective=objective, settings=ChainSettings(epsilon="paper"))
    ranges = sum(
        float(rewards.max() - rewards.min())
        for rewards in (found.chain.rewards[found.chain.states_of(stage)] for stage in range(K))
    )
    largest = float(found.chain.discounts.sum()) * ranges
    same = ucfh(found.chain, min(1.0, K**-0.5 / largest), 0.1, seed=0)
    assert found.learned.episodes == same.episodes
    assert torch.equal(found.learned.policy, same.policy)
    assert found.learned.value_upper - found.learned.value_lower <= K**-0.5


@pytest.mark.parametrize(
    "settings", [{"epsilon": 0.4}, {"delta": 0.9}, {"confidence": 0.05}, {"max_episodes": 50}], ids=str
)
def test_every_setting_reaches_ucfh(settings):
    game, asked = steer(), {"epsilon": 0.3, "delta": 0.1, "confidence": 1.0, "max_episodes": 10**8} | settings
    found = chain_l_learn(game, by_mode(game, 2), 2, settings=ChainSettings(**asked), seed=3)
    epsilon, delta = asked.pop("epsilon"), asked.pop("delta")
    assert found.learned.history == ucfh(found.chain, epsilon, delta, **asked, seed=3).history
    usual = chain_l_learn(game, by_mode(game, 2), 2, settings=ChainSettings(epsilon=0.3), seed=3)
    assert found.learned.history != usual.learned.history


def test_where_nobody_comes_the_given_policy_is_played_and_the_learner_gives_the_pairs():
    """s_g leaves 1 for 0 at once and never returns, agents never leave 0: three of four rows say nothing."""
    stay = torch.tensor([1.0, 0.0]).expand(2, 2, 3, 2)
    game = am.Game(
        P_g=torch.tensor([1.0, 0.0]).expand(2, 2, 2), P_l=stay, r_g=torch.zeros(2, 2),
        r_l=torch.tensor([0.0, 0.5, 1.0]).expand(2, 2, 3), gamma=0.5, n=9,
        initial=am.InitialLaw([1.0, 0.0], [1.0, 0.0]),
    )  # fmt: skip
    given, pi_g = deterministic_local(torch.tensor([[0, 1], [2, 1]]), 3), by_mode(game, 2)
    found = chain_l_learn(game, pi_g, 2, pi_l=given)
    assert found.pi_l.argmax(-1).tolist() == [[2, 1], [2, 1]]
    assert chain_l_learn(game, pi_g, 2).pi_l.argmax(-1).tolist() == [[2, 0], [0, 0]]
    surrogates = SurrogateCache(game, PairPlan(am.CountSimplex(2, 2)))
    learner = ChainLocalLearner(surrogates, "team", ChainSettings())
    memory = TabularMemory(torch.Generator(), torch.Generator())
    proposal, _ = learner.propose(am.policies.Pair(pi_g, given), found.joint, memory)
    assert proposal.pair.pi_l.argmax(-1).tolist() == [[2, 1], [2, 1]]
    assert proposal.value.mean == pytest.approx(found.value) == pytest.approx(2.0)
