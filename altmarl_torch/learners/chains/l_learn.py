r"""L-LEARN as specified (Algorithm 2): chain, UCFH, projection (`l_learner="ucfh"`).

    1  H macro steps, from the unscaled rewards                                        `horizon_algorithm_2`
    2  the chain of Algorithm 8 or 9, by the paper's switch rule                       `chained_mdp`
    3  UCFH on it                                                                      `ucfh`
    4  its policy as pi_l(s_l, s_g): two candidates, the better by exact value         `projections`
    5  coordinate ascent on that value                                                 `ascend`

**epsilon.** Algorithm 2 has 1/sqrt(k), in units of (1/n) r_l: for n >= sqrt(k) |r|/(1-gamma) every policy is that close
to the best. So 1/n is left out, and epsilon is relative by default (`ucfh`); "paper" asks for 1/sqrt(k) in units of
value.

**When to use it.** The chain is as large as |S_g|^2 |S_l|^k k, its exact dynamic programme takes less time than UCFH,
and the model-based search (`l_learn`) needs no chain at all. UCFH is the right choice where P_g and P_l are *not
known*, and episodes can only be simulated: of a chain's probabilities it makes no use but to sample (`ucfh(sample=...)`
takes one's own simulator). Here, inside the alternation, the kernels are known, and it is the specified algorithm
beside a yardstick.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.chains.chain import ChainedMDP, chain_form, chained_mdp, require_planned
from altmarl_torch.learners.chains.explorer import Bounds
from altmarl_torch.learners.chains.projection import ascend, projections
from altmarl_torch.learners.chains.ucfh import UCFHResult, ucfh
from altmarl_torch.learners.chains.units import units_of
from altmarl_torch.learners.settings import ChainSettings
from altmarl_torch.operators.joint_value import JointValue, joint_value, value_tolerance
from altmarl_torch.operators.surrogate import SurrogateCache
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.tabular import check_pi_l, uniform_local
from altmarl_torch.support.showing import brief
from altmarl_torch.support.snapshots import WorkInProgress
from altmarl_torch.support.tables import check_kind

__all__ = ["ChainResponse", "chain_l_learn"]


@dataclass(frozen=True)
class ChainResponse:
    """What L-LEARN proposes. Values are averages over the game's initial law."""

    pi_l: Tensor  # [sl, sg, al]
    value: float  # of pi_l under the objective, on the surrogate: exact, without the end of the horizon
    joint: JointValue  # its joint value, whatever the objective
    given_up: float  # joint value that the objective gives up: what ascent from pi_l adds to it; 0 for "team"
    chain: ChainedMDP
    learned: UCFHResult
    chain_value: float  # of UCFH's policy, on the chain
    lost: float  # of it, what the projected policy loses there, before any ascent; negative: it gains

    __repr__ = brief


def chain_l_learn(
    game: Game,
    pi_g: Tensor,
    k: int,
    *,
    objective: Objective = "team",
    settings: ChainSettings | None = None,
    pi_l: Tensor | None = None,
    seed: int | torch.Generator = 0,
    surrogates: SurrogateCache | None = None,
    progress: Callable[[Bounds], None] | None = None,
    work: WorkInProgress | None = None,
) -> ChainResponse:
    """Best-respond to `pi_g [sg, N, ag]`, over the counts of k agents, by Algorithm 2.

    Args:
        game: the game.
        pi_g: the fixed global policy.
        k: how many agents it sees.
        objective: "team" or "own".
        settings: how UCFH is run.
        pi_l: what is played where UCFH's policy never comes, `[sl, sg, al]`; uniform by default.
        seed: of UCFH's episodes.
        surrogates: where the surrogates of exact values come from; its own by default.
        progress: told the bounds, in units of value, after UCFH's plans.
        work: where UCFH keeps its counts every few minutes.

    Raises:
        ArgumentError: an argument is out of range.
        PolicyError: a policy does not fit the game.
        SizeError: the chain is too large to list, or its episodes are too long to plan.
    """
    check_game(game, "L-LEARN on the chained MDP")
    settings = ChainSettings() if settings is None else settings
    check_kind("settings", settings, ChainSettings)
    require_planned(chain_form(game, game.check_k(k), settings.form), game, k)
    chain = chained_mdp(game, pi_g, k, settings.form, objective, initial=game.initial)
    learned = ucfh(
        chain,
        _relative(settings, chain, k),
        settings.delta,
        confidence=settings.confidence,
        max_episodes=settings.max_episodes,
        seed=seed,
        progress=progress,
        work=work,
    )
    fallback = uniform_local(game) if pi_l is None else check_pi_l(game, pi_l)
    judge = _ExactJudge(game, pi_g, k, objective, surrogates)
    candidates = projections(chain, learned.policy, learned.shares, fallback)
    projected = max(candidates, key=judge.own_value)
    best = ascend(judge.own_value, projected, margin=judge.margin).pi_l if settings.ascent else projected
    joint = judge.joint(best)
    chain_value = chain.value(learned.policy)
    return ChainResponse(
        pi_l=best,
        value=joint.mean if objective == "team" else judge.own_value(best),
        joint=joint,
        given_up=0.0 if objective == "team" else judge.given_up(best, joint.mean),
        chain=chain,
        learned=learned,
        chain_value=chain_value,
        lost=chain_value - chain.value(chain.spread(projected)),
    )


def _relative(settings: ChainSettings, chain: ChainedMDP, k: int) -> float:
    """epsilon, relative: at most 1/sqrt(k) in units of value where it is the paper's."""
    if settings.epsilon != "paper":
        return settings.epsilon
    units = units_of(chain)
    return min(1.0, k**-0.5 / (units.scale * units.largest)) if units.largest else 1.0


class _ExactJudge:
    """Exact values of local policies against one global policy, under an objective and for the team."""

    def __init__(
        self, game: Game, pi_g: Tensor, k: int, objective: Objective, surrogates: SurrogateCache | None
    ) -> None:
        plan = PairPlan(CountSimplex(k, game.num_sl, game.device)) if surrogates is None else surrogates.plan
        self.team = surrogates or SurrogateCache(game, plan)
        self.judged = self.team
        if objective == "own":
            self.judged = SurrogateCache(game.replace(r_g=torch.zeros_like(game.r_g)), plan)
        self.pi_g = pi_g
        self.margin = 2 * value_tolerance(self.team(uniform_local(game)))

    def own_value(self, pi_l: Tensor) -> float:
        """The value under the objective."""
        return joint_value(self.judged(pi_l), self.pi_g).mean

    def joint(self, pi_l: Tensor) -> JointValue:
        """The joint value."""
        return joint_value(self.team(pi_l), self.pi_g)

    def given_up(self, pi_l: Tensor, value: float) -> float:
        """How much single changes of pi_l would add to its joint value."""
        return ascend(lambda other: self.joint(other).mean, pi_l, margin=self.margin).value - value
