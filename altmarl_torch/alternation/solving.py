"""`solve`: one call from a game to a pair of policies.

Its arguments become checked records (`options`), these and the game the first `AlternationRun`, and that, by what is
asked for, one run of the alternation or several from different starts (`starts`), a search over priors
(`prior_search`), or all of them judged by n agents (`selection`).
"""

import os
from collections.abc import Callable, Iterable
from typing import Literal

from numpy.typing import ArrayLike
from torch import Tensor, nn

from altmarl_torch.alternation.choosing import choose, is_too_coarse, using
from altmarl_torch.alternation.loop import Curve, PhaseProgress, Update
from altmarl_torch.alternation.memory import memory_size, remember
from altmarl_torch.alternation.nested import learn_nested, nests
from altmarl_torch.alternation.options import (
    Eta,
    Keeping,
    Learning,
    LLearner,
    Nested,
    Options,
    Problem,
    SolverChoice,
    Stopping,
)
from altmarl_torch.alternation.players.problems import GlobalFunction, LocalFunction
from altmarl_torch.alternation.prior_search import learn_posterior, make_prior
from altmarl_torch.alternation.run import AlternationRun, fit, warn_if_vacuous
from altmarl_torch.alternation.runner import learn
from altmarl_torch.alternation.selection import select_by_rollout, select_by_value
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.starts import restarted
from altmarl_torch.alternation.words import Observation, Select, read_k
from altmarl_torch.games.crowd import refuse_crowd
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.settings import ChainSettings, Settings
from altmarl_torch.operators.words import Acceptance, Objective
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["solve", "solve_with"]


def solve(
    game: Game,
    k: float | Iterable[int],
    *,
    solver: SolverChoice = "tabular",
    m: int | None = None,
    xi: int | Literal["lemma"] | None = None,
    l_learner: LLearner | LocalFunction = "auto",
    g_learner: GlobalFunction | None = None,
    chain: ChainSettings | None = None,
    objective: Objective = "team",
    observation: Observation = "surrogate",
    alpha: ArrayLike | Tensor | None = None,
    eta: Eta = "auto",
    accept: Acceptance = "mean",
    starts: int = 1,
    start: Solution | PolicyPair | None = None,
    nested: Nested = "on",
    select: Select = "value",
    steps: int = 10,
    seed: int = 0,
    device: str = "cpu",
    network: nn.Module | None = None,
    learning_rate: float = Settings.learning_rate,
    compile: bool = False,
    degree: int | None = None,
    callback: Callable[[Update], None] | None = None,
    progress: PhaseProgress | None = None,
    curve: Curve | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
) -> Solution:
    """Learn an approximate Nash equilibrium of the k-agent game by ALTERNATING-MARL (Algorithm 3).

    Args:
        game: the game.
        k: how many of the n local agents the global agent sees, in 1..n; `math.inf`, for lifted functions, is the
            mean-field limit, whose dispatcher sees everybody (the solution's k is n). Several, as `range(1, 51)`, are
            learned by one network that is told which it is; the solution's k is the largest (`docs/how-many.md`).
        solver: "tabular", exact, where the counts of k agents can be listed; "lifted", polynomials of the frequencies,
            for any k (`docs/lifted.md`); "neural", of any size; or "auto": tables where they take a second or two,
            lifted functions beyond, networks where those do not suffice.
        m: samples of the paper's T-hat_{k,m} in each Bellman update (Table 2: 30); None for the exact expectation. The
            neural solver draws afresh in every gradient step, so that its fixed point is T-hat_k's for every m; None
            is one draw.
        xi: draws of stochastic rewards that G-LEARN averages (Algorithm 10): an integer, or "lemma" for that of Lemma
            F.4; None learns from the mean rewards. Values and certificates are of the means in any case.
            (`docs/stochastic-rewards.md`)
        l_learner: "dp", the model-based one; "ucfh", that of Algorithm 2, for games whose chained MDP can be listed, of
            the tabular solver alone; "neural", the first with a network for pi_l, of the neural solver alone; "auto" is
            "dp". Or a function of one's own, `(problem, pi_l) -> pi_l`: calling the problem, a
            `LocalProblem`, makes a `LocalEnv`, and the second argument is the present policy. UPDATE judges
            what it returns like any other proposal. (`docs/partners.md`)
        g_learner: None, G-LEARN; or a function `(problem, pi_g) -> pi_g` of a `GlobalProblem`, likewise.
        chain: how "ucfh" is run; its defaults where None. (`docs/ucfh.md`)
        objective: what the local agents maximise: "team", the reward of the game, or "own", the paper's.
        observation: what the sample is taken for: "surrogate", the paper's, is the population; "posterior" is evidence
            about it; "population", of networks, plays n agents and shows k of them, so that what a sample says is
            learned; "filter" gives the dispatcher a memory, outside the paper's class Pi_g. (`docs/posterior.md`)
        alpha: prior of "posterior": a table `[sl]` or `[sg, sl]`, or its sum, spread by the initial law's mean; None
            leaves the choice to the n-agent system.
        eta: UPDATE's tolerance in units of value, or "auto", or "paper".
        accept: UPDATE's rule, "mean" or "all-states".
        starts: how many local policies to begin from: uniform, walk to s_g, greedy for r_l, then random ones. The pair
            with the best joint value wins.
        start: an earlier solution, of any k, or another pair of this game, to begin from in place of uniform policies:
            its pi_l, and of a solution what pi_g does (`Solution.seeing`), or its network.
        nested: "on": large tables, lifted functions and networks begin from what three starts find for few agents
            (`alternation.nested`), networks from lifted functions besides (`docs/neural.md`), and a run that ends with
            the uniform pi_l begins again elsewhere (`alternation.starts`); "off": from uniform policies, as printed.
            Given `start`, `starts` or learners and networks of one's own, nothing nests, nor do sampled operators on
            tables.
        select: "value", or "rollout": whatever earns most on n agents, of all starts, of the observation models up to
            `observation`, and of a pair that looks at nothing. (`docs/posterior.md`)
        steps: at most so many proposals of each player.
        seed: of every random number; the exact solver draws none.
        device: where the tables and networks lie: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:0", ...
        network: a module of one's own, frequencies `[batch, sl]` to `[batch, sg, ag]`, to be trained in place of
            `neural.CountNetwork`; it is left as it was.
        learning_rate: of the networks' optimiser, Adam.
        compile: whether networks are passed through torch.compile.
        degree: of lifted functions, 1..k; None raises it until the value of the greedy pair stands still.
        callback: told every update.
        progress: told (phase, sweeps, error) in the long parts; for networks, gradient steps and residual.
        curve: told (gradient steps, numbers by tag) while networks are trained.
        checkpoints: a folder; the same call with the same folder goes on where an earlier one was broken off, to the
            same result (on the CPU, bit for bit).

    Returns:
        The pair with its history. A KeyboardInterrupt returns what has been learned so far, with `interrupted` set.

    Raises:
        ArgumentError: an argument is outside its range, or the network does not fit the game.
        SizeError: the simplex of k agents is too large to list (tabular), float32 does not count to k (neural), or a
            degree has too many coefficients (lifted).
        LearningError: a network's training diverged.
        PolicyError: a learner of one's own returned no policy.

    Examples:
        >>> import altmarl_torch as am
        >>> solution = am.solve(am.games.steer(), k=3)
        >>> solution
        Solution('steer', k=3: value 7.82626 after 4 updates, converged)
        >>> solution.pi_l.argmax(-1).tolist()  # what an agent does, by s_l and s_g
        [[1, 1], [0, 0]]
    """
    check_game(game)
    largest, sizes = read_k(k, game.n)
    problem = Problem(largest, objective, observation, alpha, sizes)
    learning = Learning(
        solver=solver,
        l_learner=l_learner,
        g_learner=g_learner,
        chain=chain,
        m=m,
        xi=xi,
        starts=starts,
        start=start,
        nested=nested,
        select=select,
        seed=seed,
        device=device,
        network=network,
        learning_rate=learning_rate,
        compile=compile,
        degree=degree,
    )
    keeping = Keeping(callback, progress, curve, checkpoints)
    return solve_with(game, Options(problem, learning, Stopping(steps, eta, accept), keeping))


@one_thread()
@door
def solve_with(game: Game, options: Options) -> Solution:
    """`solve`, with its arguments as records.

    Raises:
        AltMarlError: the game does not fit the options, or as `solve`.
    """
    fitting = fit(options, game)
    chosen = choose(fitting, options)
    fitting = fit(chosen, fitting)
    found = _solve(fitting, chosen)
    is_free = options.learning.solver == "auto" and chosen.learning.solver == "lifted" and not found.interrupted
    if is_free and is_too_coarse(fitting, chosen, found):
        return _solve(fitting, using(chosen, "neural"))
    return found


def _solve(game: Game, options: Options) -> Solution:
    """One solver, on a game that fits."""
    problem, learning = options.problem, options.learning
    _check_crowd(game, options)
    if problem.alpha is not None:
        make_prior(game, problem.alpha)  # refused before anything is learned
    run = AlternationRun.of(game, options)
    warn_if_vacuous(run)
    if learning.select == "rollout":
        return select_by_rollout(run)
    if problem.observation == "posterior":
        return learn_posterior(run)
    if problem.observation == "filter":
        run = run.at(memory_size(game, learning.solver))
    if learning.starts > 1:
        found = select_by_value(run)
    else:
        found = learn_nested(run) if nests(run) else restarted(run, learn(run))
    return remember(found, game, int(problem.k)) if problem.observation == "filter" else found


def _check_crowd(game: Game, options: Options) -> None:
    """Raise an ArgumentError where the global reward sees the crowd, and what is asked does not."""
    problem, learning = options.problem, options.learning
    asked = {
        f"solver={learning.solver!r}": learning.solver == "neural",
        f"observation={problem.observation!r}": problem.observation not in ("surrogate", "filter"),
        "select='rollout'": learning.select == "rollout",
        "l_learner='ucfh'": learning.l_learner == "ucfh",
        "a learner of one's own": learning.has_functions,
    }
    for what, does_not in asked.items():
        if does_not:
            refuse_crowd(game, what)
