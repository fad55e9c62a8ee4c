"""`solve`: one call from a game to a pair of policies.

It checks what it is given, picks the learners, and hands them to the one alternation loop.
"""

import dataclasses
import logging
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from numpy.typing import ArrayLike
from torch import Tensor, nn

from altmarl_torch.alternation.checkpoints import Keeper
from altmarl_torch.alternation.choices import Select
from altmarl_torch.alternation.job import Job, Solver
from altmarl_torch.alternation.loop import Curve, PhaseProgress, Rules, Update, automatic_eta
from altmarl_torch.alternation.observation import learn_posterior, memory_size, remember
from altmarl_torch.alternation.selection import select_by_rollout, select_by_value
from altmarl_torch.alternation.solution import Observation, Solution
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.chains.chain import chain_form, require_planned
from altmarl_torch.learners.chains.l_learn import ChainSettings
from altmarl_torch.learners.neural.fitting import Settings
from altmarl_torch.learners.neural.surrogate import check_count
from altmarl_torch.learners.tabular.g_learn import MOST_XI
from altmarl_torch.operators.joint_value import Acceptance, Objective
from altmarl_torch.support.tables import as_device, as_integer, as_number, as_seed, check_callable
from altmarl_torch.support.threads import one_thread
from altmarl_torch.theory import eta_algorithm_3, xi_lemma_f4

__all__ = [
    "MOST_STARTS",
    "LLearner",
    "Observation",
    "Select",
    "Solver",
    "check_drawn",
    "check_eta",
    "check_l_learner",
    "check_observation",
    "check_size",
    "check_xi",
    "solve",
]

logger = logging.getLogger(__name__)

LLearner = Literal["auto", "dp", "ucfh", "neural"]
Eta = float | Literal["auto", "paper"]
ETA_WORDS = ("auto", "paper")
WORDS = {
    "solver": Solver,
    "l_learner": LLearner,
    "objective": Objective,
    "observation": Observation,
    "accept": Acceptance,
    "select": Select,
}
MOST_STARTS = 1_000


@one_thread()
def solve(
    game: Game,
    k: int,
    *,
    solver: Solver = "tabular",
    m: int | None = None,
    xi: int | Literal["lemma"] | None = None,
    l_learner: LLearner = "auto",
    chain: ChainSettings | None = None,
    objective: Objective = "team",
    observation: Observation = "surrogate",
    alpha: ArrayLike | Tensor | None = None,
    eta: Eta = "auto",
    accept: Acceptance = "mean",
    starts: int = 1,
    select: Select = "value",
    steps: int = 10,
    seed: int = 0,
    device: str = "cpu",
    network: nn.Module | None = None,
    learning_rate: float = Settings.learning_rate,
    compile: bool = False,
    callback: Callable[[Update], None] | None = None,
    progress: PhaseProgress | None = None,
    curve: Curve | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
) -> Solution:
    """Learn an approximate Nash equilibrium of the k-agent game by ALTERNATING-MARL (Algorithm 3).

    Args:
        game: the game.
        k: how many of the n local agents the global agent sees, in 1..n.
        solver: "tabular", exact, where the counts of k agents can be listed; or "neural", of any size.
        m: samples of the paper's T-hat_{k,m} in each Bellman update (Table 2: 30); None for the exact expectation. The
            neural solver draws afresh in every gradient step, so that its fixed point is T-hat_k's for every m; None
            is one draw.
        xi: draws of stochastic rewards that G-LEARN averages (Algorithm 10): an integer, or "lemma" for that of Lemma
            F.4; None learns from the mean rewards. Values and certificates are of the means in any case.
            (`docs/stochastic-rewards.md`)
        l_learner: "dp", the model-based one; "ucfh", that of Algorithm 2, for games whose chained MDP can be listed, of
            the tabular solver alone; "neural", the first with a network for pi_l, of the neural solver alone; "auto" is
            "dp".
        chain: how "ucfh" is run; its defaults where None. (`docs/ucfh.md`)
        objective: what the local agents maximise: "team", the reward of the game, or "own", the paper's.
        observation: what the sample is taken for: "surrogate", the paper's, is the population; "posterior" is evidence
            about it; "filter" gives the dispatcher a memory, outside the paper's class Pi_g. (`docs/posterior.md`)
        alpha: prior of "posterior": a table `[sl]` or `[sg, sl]`, or its sum, spread by the initial law's mean; None
            leaves the choice to the n-agent system.
        eta: UPDATE's tolerance in units of value, or "auto", or "paper".
        accept: UPDATE's rule, "mean" or "all-states".
        starts: how many local policies to begin from: uniform, walk to s_g, greedy for r_l, then random ones. The pair
            with the best joint value wins.
        select: "value", or "rollout": whatever earns most on n agents, of all starts, of the observation models up to
            `observation`, and of a pair that looks at nothing. (`docs/posterior.md`)
        steps: at most so many proposals of each player.
        seed: of every random number; the exact solver draws none.
        device: where the tables and networks lie: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:0", ...
        network: a module of one's own, frequencies `[batch, sl]` to `[batch, sg, ag]`, to be trained in place of
            `neural.CountNetwork`; it is left as it was.
        learning_rate: of the networks' optimiser, Adam.
        compile: whether networks are passed through torch.compile.
        callback: told every update.
        progress: told (phase, sweeps, error) in the long parts; for networks, gradient steps and residual.
        curve: told (gradient steps, numbers by tag) while networks are trained.
        checkpoints: a folder; the same call with the same folder goes on where an earlier one was broken off, to the
            same result (on the CPU, bit for bit).

    Returns:
        The pair with its history. A KeyboardInterrupt returns what has been learned so far, with `interrupted` set.

    Raises:
        ArgumentError: an argument is outside its range, or the network does not fit the game.
        SizeError: the simplex of k agents is too large to list (tabular), or float32 does not count to k (neural).
        LearningError: a network's training diverged.
    """
    check_game(game)
    for name, function in (("callback", callback), ("progress", progress), ("curve", curve)):
        check_callable(name, function)
    k, steps = game.check_k(k), as_integer("steps", steps, 1, 10**6, ArgumentError)
    words = {"solver": solver, "l_learner": l_learner, "objective": objective, "observation": observation}
    for name, word in (words | {"accept": accept, "select": select}).items():
        _check_choice(name, word, get_args(WORDS[name]))
    check_l_learner(solver, l_learner)
    _check_chain(l_learner, chain)
    check_observation(solver, l_learner, observation, m)
    check_xi(xi, observation)
    if alpha is not None and observation != "posterior":
        raise ArgumentError(f"alpha is the prior of observation='posterior'; it has no place in {observation!r}")
    check_eta(eta)
    game, seed = game.to(as_device(device)), as_seed(seed)
    m = m if m is None else as_integer("m", m, 1, 10**6, ArgumentError)
    rate = as_number("learning_rate", learning_rate, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
    learned = memory_size(game, solver) if observation == "filter" else k
    settings = (chain or ChainSettings()) if l_learner == "ucfh" else None
    for size in {learned, k} if select == "rollout" else {learned}:
        check_size(game, solver, size, settings)
    job = Job(
        game=game,
        k=learned,
        solver=solver,
        rules=_rules(game, learned, eta, accept),
        m=m,
        xi=_reward_draws(game, k, xi),
        objective=objective,
        accept=accept,
        steps=steps,
        seed=seed,
        settings=Settings(draws=m or 1, learning_rate=rate, compile=compile),
        network=network,
        local_network=l_learner == "neural",
        callback=callback,
        progress=progress,
        curve=curve,
        starts=as_integer("starts", starts, 1, MOST_STARTS, ArgumentError),
        chain=settings,
        keeper=None if checkpoints is None else Keeper(Path(checkpoints)),
    )
    if select == "rollout":
        return select_by_rollout(
            lambda size: dataclasses.replace(job, k=size, rules=_rules(game, size, eta, accept)), k, observation, alpha
        )
    if observation == "posterior":
        return learn_posterior(job, alpha)
    found = select_by_value(job)
    return found if observation == "surrogate" else remember(found, game, k)


def check_observation(solver: Solver, l_learner: LLearner, observation: Observation, m: int | None) -> None:
    """Raise an ArgumentError where the model of the sample does not go with the operator, or with the chains."""
    if l_learner == "ucfh" and observation != "surrogate":
        raise ArgumentError(
            f"l_learner='ucfh' needs observation='surrogate', not {observation!r}: chains know no other"
        )
    if (solver, observation) == ("tabular", "posterior") and m is not None:
        raise ArgumentError("observation='posterior' needs m=None with solver='tabular': its expectations are exact")


def check_xi(xi: object, observation: Observation) -> None:
    """Raise an ArgumentError unless `xi` is None, "lemma" or a number of draws, or where it cannot be followed."""
    if xi is None:
        return
    if xi != "lemma":
        if isinstance(xi, str):
            raise ArgumentError(f"xi must be an integer in 1..{MOST_XI}, 'lemma' or None, not {xi!r}")
        as_integer("xi", xi, 1, MOST_XI, ArgumentError)
    if observation != "surrogate":
        raise ArgumentError(f"xi draws the rewards of the surrogate; it has no place in observation={observation!r}")


def check_drawn(xi: object, game: Game) -> None:
    """Raise an ArgumentError where rewards are to be drawn that are deterministic."""
    if xi is not None and not game.has_random_rewards:
        raise ArgumentError("xi draws stochastic rewards, and this game's are deterministic: give r_g or r_l as a law")


def _reward_draws(game: Game, k: int, xi: int | Literal["lemma"] | None) -> int | None:
    """How many draws of the rewards are averaged."""
    check_drawn(xi, game)
    return min(xi_lemma_f4(game, k), MOST_XI) if xi == "lemma" else xi


def check_size(game: Game, solver: Solver, k: int, chain: ChainSettings | None) -> None:
    """Raise a SizeError where networks cannot count to k, the counts cannot be listed, or the chain cannot."""
    if solver == "neural":
        check_count(k)
    else:
        CountSimplex(k, game.num_sl).require_listed()
    if chain is not None:
        require_planned(chain_form(game, k, chain.form), game, k)


def check_l_learner(solver: Solver, l_learner: LLearner) -> None:
    """Raise an ArgumentError where the local learner does not go with the solver."""
    if (solver, l_learner) == ("tabular", "neural"):
        raise ArgumentError(
            "l_learner='neural' needs solver='neural'; with solver='tabular' use 'dp', 'ucfh' or 'auto'"
        )
    if (solver, l_learner) == ("neural", "ucfh"):
        raise ArgumentError(
            "l_learner='ucfh' needs solver='tabular'; with solver='neural' use 'dp', 'neural' or 'auto'"
        )


def _check_chain(l_learner: LLearner, chain: object) -> None:
    if chain is not None and not isinstance(chain, ChainSettings):
        raise ArgumentError(f"chain must be tabular.ChainSettings, not {type(chain).__name__}")
    if chain is not None and l_learner != "ucfh":
        raise ArgumentError(f"chain says how l_learner='ucfh' is run; it has no place in {l_learner!r}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def check_eta(eta: object) -> None:
    """Raise an ArgumentError unless `eta` is "auto", "paper" or a finite number of at least 0."""
    if not isinstance(eta, str) or eta not in ETA_WORDS:
        as_number("eta", eta, "[0, inf) or one of auto, paper", lambda x: 0 <= x < math.inf, ArgumentError)


def _rules(game: Game, k: int, eta: Eta, accept: Acceptance) -> Rules:
    """UPDATE's tolerance as a function of the values compared; a warning where the paper's is vacuous."""
    paper = eta_algorithm_3(game, k)
    if eta == "auto":
        return Rules(accept, partial(automatic_eta, game.v_max, accept=accept), paper, adopt_better=accept == "mean")
    if eta == "paper":
        if 2 * paper >= game.v_max:
            logger.warning(
                "eta='paper' is vacuous here: 2 eta = %.4g, but no value exceeds V_max = %.4g, so no proposal can be "
                "accepted; use eta='auto' or a number",
                2 * paper,
                game.v_max,
            )
        return Rules(accept, lambda proposed, current: paper, paper)
    return Rules(accept, lambda proposed, current: float(eta), paper)
