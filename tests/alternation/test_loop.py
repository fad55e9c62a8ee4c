"""UPDATE's rules and the loop, with players whose proposals are scripted; no learner is involved."""

import dataclasses
from dataclasses import dataclass

import pytest
import torch

from altmarl_torch.alternation.loop import Decision, Players, Proposal, Rules, alternate, automatic_eta, decide
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair

ONE = torch.ones(1, 1, 1, dtype=torch.float64)


def value(*entries, error=0.0):
    values = torch.tensor([entries], dtype=torch.float64)
    return JointValue(values, float(values.mean()), error, 0)


@pytest.mark.parametrize(
    ("proposed", "mean", "all_states"),
    [
        ((3.0, 3.0), Decision.ACCEPT, Decision.ACCEPT),
        ((9.0, 1.1), Decision.ACCEPT, Decision.TERMINATE),
        ((9.0, -3.0), Decision.ACCEPT, Decision.REJECT),
        ((1.0, 1.0), Decision.TERMINATE, Decision.TERMINATE),
        ((2.0, 2.0), Decision.TERMINATE, Decision.TERMINATE),  # exactly 2 eta is not more than 2 eta
        ((0.0, 0.0), Decision.TERMINATE, Decision.TERMINATE),
        ((-3.0, -3.0), Decision.REJECT, Decision.REJECT),
        ((-3.0, 3.0), Decision.TERMINATE, Decision.REJECT),
    ],
)
def test_the_two_rules(proposed, mean, all_states):
    """From V = 0 at both states with eta = 1."""
    assert decide(value(*proposed), value(0.0, 0.0), 1.0, "mean") is mean
    assert decide(value(*proposed), value(0.0, 0.0), 1.0, "all-states") is all_states


def test_automatic_eta_covers_the_errors_compared():
    assert automatic_eta(290.0, value(1.0), value(2.0)) == pytest.approx(0.29)
    assert automatic_eta(290.0, value(1.0, error=0.5), value(2.0)) == 0.5
    assert automatic_eta(290.0, value(1.0), value(2.0, error=0.7)) == 0.7
    sampled = dataclasses.replace(value(1.0), standard_error=0.3), dataclasses.replace(value(2.0), standard_error=0.4)
    assert automatic_eta(290.0, *sampled) == pytest.approx(1.0)


@dataclass
class Scripted:
    """Proposes pairs numbered on pi_g or pi_l, and knows what each is worth."""

    player: str
    proposals: list[float]
    phase: str = "scripted"

    def propose(self, pair, value, memory):
        worth = self.proposals.pop(0)
        if worth is None:
            raise KeyboardInterrupt
        proposed = Pair(worth * ONE, pair.pi_l) if self.player == "global" else Pair(pair.pi_g, worth * ONE)
        return Proposal(proposed, None, None, 1, {"scripted": worth}), (*memory, self.player)


class Judge:
    """The value of a pair is pi_g + pi_l."""

    def evaluate(self, pair, start):
        return value(float(pair.pi_g + pair.pi_l))


def run(globally, locally, *, accept="mean", adopt_better=False, steps=10):
    rules = Rules(accept, lambda proposed, current: 0.5, 99.0, adopt_better)
    players = Scripted("global", list(globally)), Scripted("local", list(locally))
    return alternate(Players(players, Judge(), Pair(0 * ONE, 0 * ONE), ()), rules, steps=steps)


def test_mean_ends_when_both_players_in_succession_have_nothing_to_gain():
    state = run([5.0, 5.2], [0.4, 0.4])
    assert [(u.step, u.player, u.decision.value) for u in state.history] == [
        (1, "global", "accept"),
        (1, "local", "terminate"),
        (2, "global", "terminate"),
    ]
    assert state.converged
    assert state.value.mean == 5.0
    assert float(state.pair.pi_l) == 0.0


def test_a_rejection_also_means_nothing_to_gain_and_an_acceptance_starts_the_count_anew():
    state = run([5.0, 2.0, 5.0], [0.0, 3.0, 3.0])
    assert [u.decision.value for u in state.history] == ["accept", "terminate", "reject"]
    state = run([0.1, 5.0, 5.0], [3.0, 3.0])
    assert [u.decision.value for u in state.history] == ["terminate", "accept", "accept", "terminate", "terminate"]


def test_all_states_ends_on_the_first_inconclusive_comparison_but_not_on_a_rejection():
    state = run([-5.0, 3.0], [3.0, 3.5], accept="all-states")
    assert [u.decision.value for u in state.history] == ["reject", "accept", "accept", "terminate"]
    assert state.converged
    assert state.value.mean == 6.0


def test_all_states_goes_on_after_rejections_until_the_steps_are_done():
    state = run([-5.0] * 3, [-5.0] * 3, accept="all-states", steps=3)
    assert len(state.history) == 6
    assert not state.converged


def test_the_memory_goes_from_turn_to_turn_whatever_becomes_of_the_proposals():
    assert run([5.0, 8.0], [-3.0, 1.0], steps=2).memory == ("global", "local", "global", "local")


def test_steps_are_a_cap():
    state = run([5.0, 10.0], [5.0, 10.0], steps=2)
    assert len(state.history) == 4
    assert not state.converged
    assert state.value.mean == 20.0


def test_a_better_proposal_within_the_tolerance_is_adopted_only_where_the_rules_say_so():
    assert run([0.6], [0.0, 0.0], adopt_better=False).value.mean == 0.0
    state = run([0.6], [0.0, 0.0], adopt_better=True)
    assert state.value.mean == 0.6
    assert state.history[0].decision is Decision.TERMINATE
    assert state.history[0].adopted
    assert state.history[0].value == 0.6
    assert not state.history[1].adopted


def test_the_potential_never_falls_and_the_history_chains():
    state = run([5.0, -9.0, 8.0], [1.5, 4.0, 1.0], steps=3)
    for before, after in zip(state.history, state.history[1:], strict=False):
        assert after.value_before == before.value
        assert after.value >= before.value


def test_an_interrupt_keeps_the_last_accepted_pair():
    state = run([5.0, None], [2.0])
    assert state.interrupted
    assert not state.converged
    assert state.value.mean == 7.0
    assert len(state.history) == 2
