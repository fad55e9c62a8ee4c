r"""Lemma D.4 as a check: what a single local agent changes by deviating, for itself, for the team, for the potential.

The potential of a pair is its joint value, Psi = E sum_t gamma^t Phi with the stage potential (Eq. 32)

    Phi(s, a) = r_g(s_g, a_g) + (1/k) sum_i r_l(s_i, s_g, a_i)

on the k agents of the surrogate. Lemma D.4 says that when one local agent deviates, its own payoff
E sum_t gamma^t r_l(s_i, s_g, a_i) / k changes by exactly as much as Psi. The team's payoff, E sum_t gamma^t Phi, does:
it *is* the potential. The own payoff does so only if the deviation leaves r_g and the companions' rewards alone, hence
where pi_g ignores its sample. Once pi_g reacts, the deviator moves s_g, and with it everybody: the lemma's proof drops
that term (`docs/differences-from-the-paper.md`, row 6).

**The tagged chain.** Let agent 1, in state z, play d(a | z, s_g) while its k - 1 companions, with counts c, play pi_l.
The dispatcher sees c + e_z. Then (s_g, z, c) is a Markov chain,

    K_d = [pi_g(. | s_g, c + e_z) P_g](s_g')  P_d(z' | z, s_g)  P(c' | c, s_g),

with P_d the agent's law under d and P(c' | c, s_g) that of k - 1 agents under P_l_pi (Eq. 5), all under the current
s_g (Eq. 3). Every payoff x solves (I - gamma K_d) V = x, and the change is that of V between d and pi_l.

**Two roads to the potential.** If the potential's change were computed like the team's, the two would agree by
construction. It is computed from the joint value V(s_g, h) of the undeviated pair on counts instead, by the
performance-difference lemma (Kakade and Langford, ICML 2002): with V(s_g, z, c) = V(s_g, c + e_z),

    Psi(d) - Psi(pi_l) = (I - gamma K_d)^{-1} (Phi_d + gamma K_d V - V).

So that the team's change equals the potential's is a check of the tagged chain against the evaluator, to rounding.

Start: (s_g, c + e_z) has the game's initial law of k agents, and the deviator is each of them with equal probability:
P(z, c) = (c_z + 1)/k P_k(c + e_z).
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import SizeError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.joint_value import joint_value, span_tolerance
from altmarl_torch.operators.surrogate import Surrogate, exact_surrogate
from altmarl_torch.policies.tabular import check_pi_g, check_pi_l
from altmarl_torch.support.showing import brief

__all__ = ["DeviationChanges", "deviation_changes"]

MAX_STATES = 4_000
"""States of the largest tagged chain that is solved: 128 MB and seconds."""

VALUE_ERROR = 1e-12
"""Error of the joint value that the potential's change is computed from, relative to the span of values."""


@dataclass(frozen=True, eq=False)
class DeviationChanges:
    """What one agent's deviation changes, averaged over the initial law and from every state; in units of value."""

    own: float  # change of its own payoff, (1/k) E sum gamma^t r_l
    team: float  # change of the team's payoff, E sum gamma^t (r_g + mean r_l)
    potential: float  # change of the joint value
    own_by_state: Tensor  # [sg, sl, N_{k-1}] the same, from each (s_g, own state, counts of the companions)
    team_by_state: Tensor  # [sg, sl, N_{k-1}]
    potential_by_state: Tensor  # [sg, sl, N_{k-1}]

    __repr__ = brief

    @property
    def own_violation(self) -> float:
        """The largest |own - potential| over all states: by how much Lemma D.4 fails as it is stated."""
        return float((self.own_by_state - self.potential_by_state).abs().max())

    @property
    def team_violation(self) -> float:
        """The largest |team - potential| over all states: rounding."""
        return float((self.team_by_state - self.potential_by_state).abs().max())


@dataclass(frozen=True, eq=False)
class _TaggedChain:
    """The chain on (s_g, z, c) with agent 1 under its own policy; its states are flattened in that order."""

    matrix: Tensor  # [M, M] K_d
    own: Tensor  # [M] (1/k) r_l of the tagged agent
    team: Tensor  # [M] Phi_d
    gamma: float

    def accumulate(self, rewards: Tensor) -> Tensor:
        """Discounted sums of `rewards [M, columns]` from each state."""
        eye = torch.eye(len(self.matrix), dtype=self.matrix.dtype, device=self.matrix.device)
        sums: Tensor = torch.linalg.solve(eye - self.gamma * self.matrix, rewards)
        return sums


def deviation_changes(game: Game, pi_g: Tensor, pi_l: Tensor, deviation: Tensor, k: int) -> DeviationChanges:
    """Let one of the surrogate's k agents play `deviation` and compare its payoffs with those under pi_l, exactly.

    Args:
        game: the game.
        pi_g: `[sg, N_k, ag]`, law of a_g given (s_g, h).
        pi_l: `[sl, sg, al]`, what the k - 1 companions play, and the deviator before.
        deviation: `[sl, sg, al]`, what it plays instead.
        k: number of agents, in 1..n.

    Raises:
        ArgumentError: k is outside 1..n.
        PolicyError: a policy does not fit the game.
        SizeError: the chain on (s_g, s_l, counts of k - 1 agents) has more than `MAX_STATES` states.
    """
    check_game(game)
    plan = PairPlan(CountSimplex(game.check_k(k), game.num_sl, game.device))
    _check_size(game, plan.companions.simplex)
    pi_g, pi_l, deviation = check_pi_g(game, pi_g, plan.simplex), check_pi_l(game, pi_l), check_pi_l(game, deviation)
    surrogate = exact_surrogate(game, pi_l, plan)
    before, after = (_tagged_chain(surrogate, pi_g, policy) for policy in (pi_l, deviation))
    values = joint_value(surrogate, pi_g, tolerance=span_tolerance(game, VALUE_ERROR)).values
    V = rearrange(values[:, _joined(plan)], "g c z -> (g z c)")
    advantage = after.team + game.gamma * after.matrix @ V - V
    own, team, potential = after.accumulate(torch.stack([after.own, after.team, advantage], -1)).unbind(-1)
    old_own, old_team = before.accumulate(torch.stack([before.own, before.team], -1)).unbind(-1)
    return _summarize(surrogate, own - old_own, team - old_team, potential)


def _joined(plan: PairPlan) -> Tensor:
    """The rank of c + e_z, `[N_{k-1}, sl]`."""
    return plan.companions.simplex.add_one()[1]


def _tagged_chain(surrogate: Surrogate, pi_g: Tensor, policy: Tensor) -> _TaggedChain:
    """The chain in which the tagged agent plays `policy [sl, sg, al]`."""
    game, plan = surrogate.game, surrogate.plan
    joined, (P_own, r_own) = _joined(plan), game.induced(policy)
    to_sg = next_sg_law(surrogate, pi_g)[:, joined]  # [sg, c, z, sg']
    rows = [
        einsum(to_sg[sg], P_own[:, sg], _companion_law(surrogate, sg), "c z G, z Z, c C -> z c G Z C")
        for sg in range(game.num_sg)
    ]
    own = (r_own.T / plan.simplex.k).unsqueeze(-1).expand(-1, -1, len(joined))
    companions = einsum(plan.companions.simplex.counts.to(r_own.dtype), surrogate.r_l_pi, "c y, y g -> g c")
    dispatched = surrogate.led(pi_g)[:, joined]
    team = rearrange(dispatched, "g c z -> g z c") + own + (companions / plan.simplex.k).unsqueeze(1)
    matrix = rearrange(torch.stack(rows), "g z c G Z C -> (g z c) (G Z C)")
    return _TaggedChain(matrix, own.flatten(), team.flatten(), game.gamma)


def _companion_law(surrogate: Surrogate, sg: int) -> Tensor:
    """P(c' | c) of the k - 1 companions under s_g, `[N_{k-1}, N_{k-1}]`."""
    plan = surrogate.plan.companions
    kernel = CountKernel(surrogate.P_l_pi[:, sg], plan.simplex.k, plan=plan)
    return kernel.expect(torch.eye(plan.simplex.size, dtype=torch.float64, device=surrogate.game.device))


def _summarize(surrogate: Surrogate, own: Tensor, team: Tensor, potential: Tensor) -> DeviationChanges:
    """Average `[M]` changes over the initial law of the tagged chain, and lay them out by state."""
    plan, num_sg = surrogate.plan, surrogate.game.num_sg
    weight = (plan.companions.simplex.counts + 1).to(own.dtype) / plan.simplex.k
    law = rearrange(surrogate.initial_law[:, _joined(plan)] * weight, "g c z -> g z c")
    own, team, potential = (change.reshape(num_sg, -1, len(weight)) for change in (own, team, potential))
    return DeviationChanges(
        float((law * own).sum()), float((law * team).sum()), float((law * potential).sum()), own, team, potential
    )


def _check_size(game: Game, companions: CountSimplex) -> None:
    states = game.num_sg * game.num_sl * companions.size
    if states > MAX_STATES:
        raise SizeError(
            f"the tagged chain on (s_g, s_l, counts of {companions.k} companions) has {states:,} states, too many to "
            f"solve directly (at most {MAX_STATES:,}); use a smaller k"
        )
