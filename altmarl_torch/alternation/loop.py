r"""ALTERNATING-MARL (Algorithm 3): propose, UPDATE, propose, UPDATE.

The two players take turns. Each proposes a best response to the other's current policy; UPDATE accepts or rejects it:

    for t = 1, ..., steps
        global agent:  pi_g' <- G-LEARN(pi_l),   (pi_g, NASH) <- UPDATE
        local agents:  pi_l' <- L-LEARN(pi_g),   (pi_l, NASH) <- UPDATE

Every proposal of either player is scored by one evaluator, the joint value V of the pair on the states (s_g, h) of the
k-agent surrogate, beginning with the value of the pair it starts from. (Printed, V_old starts at 0, and G-LEARN's and
L-LEARN's own estimates are compared, which differ by a factor and in what they hold: rows 2 and 4 of
`docs/differences-from-the-paper.md`.) So the joint value is a potential: in exact runs it rises with every accepted
proposal, and the loop ends.

**UPDATE** has two rules, both with a tolerance eta:

=============  =========================  ==========================  ==================
rule           accept                     reject                      otherwise
=============  =========================  ==========================  ==================
`all-states`   V' > V + 2 eta everywhere  V' < V - 2 eta somewhere    terminate
`mean`         the same of the averages of V' and V over the initial law rho
=============  =========================  ==========================  ==================

`all-states` is printed, and there a single "terminate" ends the loop. But of the proposals that improve the mean only
69 % improve every state. Under `mean`, the default, the loop ends when both players in succession have nothing to gain.
On "reject" and "terminate" the current policy stays, as printed.

**eta.** The paper's is vacuous, 2 eta >= V_max, for every k <= 655 (`theory.eta_algorithm_3`): read literally,
Algorithm 3 returns its uniform start. `"paper"` computes it, uses it and warns; the default, `"auto"`, is the largest
of 1e-3 of the span of values, two standard errors of the gain (zero where values are exact; paired where they are
measured on common episodes, `evaluation.gain_error`), and the bound on the error of either value. Both are logged with
every update. With `mean` and `"auto"` eta decides when to *stop*, not what to return: a proposal within 2 eta counts
as nothing to gain, but if its value is higher by more than the numerical error, it is adopted. (Standard errors do not
enter here: to stay and to go are as likely to be wrong, so the higher measured value is the better guess.)

The loop knows learners and evaluator only by the protocols below, and is the only one in the package. What pi_g *is*
(a table over counts, a network) is theirs to know: the loop carries it from one to the other. So it does with their
*memory*, whatever the turns of a solver leave for later ones: learners take it and return it, and keep nothing.
"""

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, Literal, Protocol, TypeVar

from torch import Tensor

from altmarl_torch.operators.joint_value import JointValue, gain_error
from altmarl_torch.operators.words import Acceptance
from altmarl_torch.policies.base import Pair

__all__ = [
    "Acceptance",
    "Alternation",
    "Curve",
    "Decision",
    "Evaluator",
    "Learner",
    "Pair",
    "PhaseProgress",
    "Players",
    "Proposal",
    "Rules",
    "Update",
    "alternate",
    "automatic_eta",
    "decide",
]

Player = Literal["global", "local"]
GlobalPolicy = TypeVar("GlobalPolicy")
PolicyToJudge = TypeVar("PolicyToJudge")
Memory = TypeVar("Memory")

PhaseProgress = Callable[[str, int, float], None]
"""Told (phase, sweeps, error) in the long parts."""

Curve = Callable[[int, Mapping[str, float]], None]
"""Told (gradient steps, or episodes; numbers by tag) while a learner learns."""

AUTO_ETA = 1e-3
"""Smallest automatic eta, relative to the span of values."""


class Decision(Enum):
    """What UPDATE does with a proposal."""

    ACCEPT = "accept"
    REJECT = "reject"
    TERMINATE = "terminate"  # the proposal is within the tolerance: the player has nothing to gain


@dataclass(frozen=True)
class Proposal(Generic[GlobalPolicy]):
    """A pair in which one player has responded to the other."""

    pair: Pair[GlobalPolicy]
    start: Tensor | None  # values [sg, N] from which its evaluation may start
    value: JointValue | None  # its joint value, where the learner has evaluated it as the evaluator would
    sweeps: int  # Bellman updates spent
    details: dict[str, float | int | str] = field(default_factory=dict)  # the learner's own numbers, by tag
    current: JointValue | None = None  # the value of the pair it answers, where `value` was found by finer means


class Learner(Protocol[GlobalPolicy, Memory]):
    """One player's way to a best response."""

    @property
    def player(self) -> Player:
        """Whose turn it is."""

    @property
    def phase(self) -> str:
        """The turn's name in the table of times."""

    def propose(
        self, pair: Pair[GlobalPolicy], value: JointValue, memory: Memory
    ) -> tuple[Proposal[GlobalPolicy], Memory]:
        """Respond to the other player's policy in `pair`, whose joint value is given.

        `memory` is what the turns before have left, both players'; it stays as it is, and what this turn leaves is
        returned.
        """


class Evaluator(Protocol[PolicyToJudge]):
    """The joint value of any pair, on the same states whoever proposed it."""

    def evaluate(self, pair: Pair[PolicyToJudge], start: Tensor | None) -> JointValue:
        """The joint value of `pair`, found from `start` if that helps."""


@dataclass(frozen=True)
class Players(Generic[GlobalPolicy, Memory]):
    """Who takes turns, who judges, and where they begin."""

    learners: tuple[Learner[GlobalPolicy, Memory], ...]  # in the order of their turns
    evaluator: Evaluator[GlobalPolicy]
    start: Pair[GlobalPolicy]
    memory: Memory  # before the first turn; a value that `support.snapshots.pack` can take apart
    before: tuple["Update", ...] = ()  # the proposals that the start comes from, where it was found by cheaper means


@dataclass(frozen=True)
class Update:
    """One line of the history: a proposal and what became of it. Values are means over the initial law."""

    step: int  # 1, 2, ..., steps
    player: Player
    decision: Decision
    value_before: float
    value_proposed: float
    eta: float  # the tolerance used
    eta_paper: float  # Algorithm 3's
    seconds: float  # spent on learning and evaluating the proposal
    sweeps: int  # Bellman updates spent, those of the evaluation included
    error: float  # bound on the error of either value
    adopted: bool  # whether the proposal is now the current pair
    details: dict[str, float | int | str]  # the learner's own numbers, by tag
    standard_error: float = 0.0  # of value_proposed - value_before, where values are measured; 0 where computed

    @property
    def value(self) -> float:
        """Joint value of the pair after the update: the potential."""
        return self.value_proposed if self.adopted else self.value_before

    @property
    def level(self) -> str:
        """Whose values these are where not those of the run's own loop: "lifted", "k = 6", "from walk" (a restart)."""
        lifted = "lifted" if self.details.get("nested/start") == "lifted" else ""
        few = f"k = {self.details['nested/k']}" if "nested/k" in self.details else ""
        again = f"from {self.details['restart/start']}" if "restart/start" in self.details else ""
        return "  ".join(word for word in (lifted, few, again) if word)


@dataclass(frozen=True)
class Rules:
    """How UPDATE decides."""

    accept: Acceptance
    eta: Callable[[JointValue, JointValue], float]  # tolerance, from the values compared (proposed, current)
    eta_paper: float  # Algorithm 3's, for the record
    adopt_better: bool = False  # whether a proposal within the tolerance is adopted where its value is higher


@dataclass
class Alternation(Generic[GlobalPolicy, Memory]):
    """Where the loop stands: the current pair, its value, what the players remember, and how it came about."""

    pair: Pair[GlobalPolicy]
    value: JointValue
    memory: Memory
    history: list[Update] = field(default_factory=list)
    converged: bool = False
    interrupted: bool = False
    seconds: dict[str, float] = field(default_factory=dict)  # by phase: "g_learn", "l_learn", "evaluation"
    content: int = 0  # players that, in succession, have nothing to gain


def decide(proposed: JointValue, current: JointValue, eta: float, accept: Acceptance) -> Decision:
    """UPDATE's decision, by the rule `accept` (see the table above)."""
    gain = proposed.values - current.values
    least_gain = proposed.mean - current.mean if accept == "mean" else float(gain.min())
    if least_gain > 2 * eta:
        return Decision.ACCEPT
    return Decision.REJECT if least_gain < -2 * eta else Decision.TERMINATE


def automatic_eta(span: float, proposed: JointValue, current: JointValue, accept: Acceptance = "mean") -> float:
    """`eta="auto"`: the largest of 1e-3 of the span of values, two standard errors, and the bound on either error."""
    standard_error = gain_error(proposed, current, of_mean=accept == "mean")
    return max(AUTO_ETA * span, 2 * standard_error, proposed.error, current.error)


def alternate(
    players: Players[GlobalPolicy, Memory],
    rules: Rules,
    *,
    steps: int,
    callback: Callable[[Update], None] | None = None,
    reached: Alternation[GlobalPolicy, Memory] | None = None,
    save: Callable[[Alternation[GlobalPolicy, Memory]], None] | None = None,
) -> Alternation[GlobalPolicy, Memory]:
    """Run Algorithm 3: at most `steps` proposals of each player, in the order of their turns.

    `callback` is told every update. A KeyboardInterrupt ends the loop: the pair is then the last adopted one, and
    `interrupted` is set. `reached` is where an earlier call had come, which this one continues; `save` is told where
    this one is, before the first and after every update.
    """
    evaluator = players.evaluator
    state = reached or Alternation(players.start, evaluator.evaluate(players.start, None), players.memory)
    turns = itertools.product(range(1, steps + 1), players.learners)
    try:
        if save and not reached:
            save(state)
        for step, learner in itertools.islice(turns, len(state.history), None):
            if state.converged:
                break
            update = _take_turn(state, step, learner, evaluator, rules)
            state.content = 0 if update.decision is Decision.ACCEPT else state.content + 1
            printed_end = update.decision is Decision.TERMINATE
            state.converged = printed_end if rules.accept == "all-states" else state.content == len(players.learners)
            if save:
                save(state)
            if callback:
                callback(update)
    except KeyboardInterrupt:
        state.interrupted = True
    return state


def _take_turn(
    state: Alternation[GlobalPolicy, Memory],
    step: int,
    learner: Learner[GlobalPolicy, Memory],
    evaluator: Evaluator[GlobalPolicy],
    rules: Rules,
) -> Update:
    """Propose, evaluate, UPDATE: one line of the history."""
    begun = time.perf_counter()
    proposal, state.memory = learner.propose(state.pair, state.value, state.memory)
    learned = time.perf_counter()
    value = proposal.value or evaluator.evaluate(proposal.pair, proposal.start)
    done = time.perf_counter()
    state.value = proposal.current or state.value
    eta = rules.eta(value, state.value)
    decision = decide(value, state.value, eta, rules.accept)
    error = value.error + state.value.error
    update = Update(
        step=step,
        player=learner.player,
        decision=decision,
        value_before=state.value.mean,
        value_proposed=value.mean,
        eta=eta,
        eta_paper=rules.eta_paper,
        seconds=done - begun,
        sweeps=proposal.sweeps + (0 if proposal.value else value.sweeps),
        error=max(value.error, state.value.error),
        adopted=decision is Decision.ACCEPT or (rules.adopt_better and value.mean > state.value.mean + error),
        details=proposal.details,
        standard_error=gain_error(value, state.value, of_mean=True),
    )
    for phase, seconds in ((learner.phase, learned - begun), ("evaluation", done - learned)):
        state.seconds[phase] = state.seconds.get(phase, 0.0) + seconds
    state.history.append(update)
    if update.adopted:
        state.pair, state.value = proposal.pair, value
    return update
