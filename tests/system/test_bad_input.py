"""Malformed calls and command lines, each with the error it gets; and odd but right games, each with its value.

One line is one case. A malformed one is refused by an error of the family (or by the file system's) whose message says
what was wrong and what would be right; an odd one is solved, rolled out and certified, and all its numbers are finite.
None takes longer than a few seconds.
"""

import math
import re
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from oracles.neural import cut_short

import altmarl_torch as am
from altmarl_torch import games, heuristics, theory
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.evaluation.lemma_d4 import deviation_changes
from altmarl_torch.evaluation.paired import surrogate_promise
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.policies.tabular import TabularDispatcher, TabularPair, deterministic_local
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.sweeps import Plan, numbers
from altmarl_torch.tabular import ChainSettings, EpisodicMDP, chain_l_learn, chained_mdp, g_learn, l_learn, ucfh

SECONDS = 8.0
NAN, INF, HUGE = math.nan, math.inf, 10**400
ArgumentError, GameError, PolicyError, SizeError = am.ArgumentError, am.GameError, am.PolicyError, am.SizeError

STEER = games.steer(n=10)
PAIR = am.solve(STEER, 2)
PI_G, PI_L = PAIR.pi_g, PAIR.pi_l
PLAN = PairPlan(am.CountSimplex(2, 2))
SURROGATE = Surrogate.build(STEER, PI_L, PLAN)
CHAIN = chained_mdp(STEER, PI_G, 2, "tuple", "team", 3)
GENERATOR, tensor, uniform, kernel = torch.Generator(), torch.tensor, am.InitialLaw.uniform, am.CountKernel
COIN = torch.full((2, 2), 0.5)
TABLES = {"P_g": STEER.P_g, "P_l": STEER.P_l, "r_g": STEER.r_g, "r_l": STEER.r_l, "gamma": 0.8, "n": 10}
FUNCTIONS = {"P_g": lambda s, a: [0.5, 0.5], "P_l": lambda z, s, a: [0.5, 0.5], "r_g": lambda s, a: 0.0}
FUNCTIONS |= {"r_l": lambda z, s, a: 0.0, "num_sg": 2, "num_sl": 2, "num_ag": 2, "num_al": 2, "gamma": 0.8, "n": 10}


def game(**changes):
    return am.Game(**(TABLES | changes))


def on_meta():
    return {name: TABLES[name].to("meta") for name in ("P_g", "P_l", "r_g", "r_l")}


def tabulated(**changes):
    return am.Game.from_functions(**(FUNCTIONS | changes))


def steer(**options):
    return am.solve(STEER, 2, **options)


def posterior(alpha):
    return steer(observation="posterior", alpha=alpha)


def act(s_g, counts):
    return PAIR.dispatcher().act(s_g, counts)


def certify(**options):
    return am.certify(STEER, PAIR, **options)


def roll(**options):
    return am.rollout(STEER, PAIR, **options)


def difference(**options):
    return am.paired_difference(STEER, PAIR, PAIR, **options)


def gaps(**options):
    return am.rollout_gaps(STEER, PAIR, **options)


def population(**options):
    return am.population_value(STEER, PAIR, **options)


def value(pi_g, **options):
    return am.joint_value(SURROGATE, pi_g, **options)


def noise(k=2, m=3, **options):
    return am.bellman_noise(STEER, PI_L, k, m, **options)


def chained(*arguments, **options):
    return chained_mdp(STEER, PI_G, *arguments, **options)


def remembering():
    return steer(observation="filter").dispatcher()


def simplex(k=2, num_sl=2, **options):
    return am.CountSimplex(k, num_sl, **options)


def initial(sg=(1,), local_mean=(0.5, 0.5), strength=INF):
    return am.InitialLaw(list(sg), list(local_mean), strength)


def law(counts):
    return am.InitialLaw.uniform(2, 2).count_law(counts)


def plan(ks=(1,), seeds=1, name=None):
    return Plan.of(TrainConfig(), ks, seeds, name)


def mdp(P=(((1.0,),),), r=((0.0,),), horizon=1, **options):
    return EpisodicMDP.from_tables(P, r, horizon, **options)


def no(error, message, call, name):
    """One malformed call."""
    return pytest.param(call, error, message, id=name)


@pytest.fixture(autouse=True)
def in_time():
    """Whatever takes too long is taken for a hang."""

    def ring(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def full_disk():
    """Files may not grow beyond 100 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


GAME = [
    no(GameError, "^P_g holds object; expected an array of real", lambda: game(P_g=None), "no-table"),
    no(GameError, "^P_g holds <U3", lambda: game(P_g="abc"), "text"),
    no(GameError, "^P_g is not an array of numbers", lambda: game(P_g=[[1, 2], [3]]), "ragged"),
    no(GameError, "^P_g .* axis sg is empty", lambda: game(P_g=torch.zeros(0, 2, 0)), "empty"),
    no(GameError, "^P_g holds torch.complex64", lambda: game(P_g=STEER.P_g.cfloat()), "complex"),
    no(GameError, "^P_g has the layout torch.sparse", lambda: game(P_g=STEER.P_g.to_sparse()), "sparse"),
    no(GameError, "^P_g .* meta device", lambda: game(**on_meta()), "meta-tensors"),
    no(GameError, r"^P_g\[sg=0, ag=0\] sums to 2", lambda: game(P_g=2 * STEER.P_g), "no-law"),
    no(GameError, r"^P_g\[.*\] is -0.9.*non-negative", lambda: game(P_g=-STEER.P_g), "negative-law"),
    no(GameError, r"^r_g\[sg=0, ag=0\] is nan", lambda: game(r_g=[[NAN, 0], [0, 0]]), "nan-reward"),
    no(GameError, r"^r_g\[sg=0, ag=0\] is inf", lambda: game(r_g=[[INF, 0], [0, 0]]), "infinite-reward"),
    no(GameError, "^r_g", lambda: game(r_g=[[HUGE, 0], [0, 0]]), "reward-beyond-floats"),
    no(GameError, "V_max .* finite", lambda: game(r_g=[[1e308, 0], [0, 0]]), "v-max-beyond-floats"),
    no(GameError, r"^r_g has shape \[\]", lambda: game(r_g=5), "number-for-a-table"),
    no(GameError, "axis sl of r_l .* has 1 entries", lambda: game(r_l=STEER.r_l[:1]), "sizes-disagree"),
    *(
        no(
            GameError,
            r"^gamma must be a number in \[0, 1\), not",
            lambda value=value: game(gamma=value),
            f"gamma-{name}",
        )
        for name, value in (("1", 1), ("negative", -0.1), ("nan", NAN), ("text", "0.9"), ("none", None), ("true", True))
    ),
    no(GameError, r"^gamma must be a number", lambda: game(gamma=HUGE), "gamma-huge"),
    no(GameError, r"^gamma must be a number", lambda: game(gamma=1j), "gamma-complex"),
    *(
        no(GameError, r"^n must be an integer in 1\.\.\d+, not", lambda value=value: game(n=value), f"n-{name}")
        for name, value in (("0", 0), ("float", 2.0), ("true", True), ("none", None), ("nan", NAN), ("1e20", 10**20))
    ),
    no(GameError, "^initial must be an InitialLaw or None, not str", lambda: game(initial="uniform"), "initial"),
    no(GameError, "initial.sg has 3 entries", lambda: game(initial=uniform(3, 2)), "initial-sg"),
    no(GameError, "initial.local_mean has 3", lambda: game(initial=uniform(2, 3)), "initial-sl"),
    no(GameError, "^name must be a non-empty", lambda: game(name=""), "no-name"),
    no(GameError, "^name must be .* printable", lambda: game(name="a\nb"), "name-of-two-lines"),
    no(GameError, "^name must be .* string, not 3", lambda: game(name=3), "name-3"),
    no(ArgumentError, "attributes P_g, .*, name, r_g_law.*; not foo", lambda: STEER.replace(foo=1), "replace-unknown"),
    no(GameError, "^gamma must be", lambda: STEER.replace(gamma=2), "replace-gamma"),
    no(ArgumentError, "^device must be one of auto, cpu", lambda: STEER.to("nowhere"), "to-nowhere"),
    no(ArgumentError, "^device must be one of .*not 'meta'", lambda: STEER.to("meta"), "to-meta"),
    no(PolicyError, "^pi_l holds object", lambda: STEER.induced(None), "induced-by-none"),
    no(GameError, r"^P_g\(sg=0, ag=0\) raised TypeError", lambda: tabulated(P_g=lambda s: 1), "function-of-one"),
    no(GameError, "^P_g.* raised TypeError", lambda: tabulated(P_g=3), "no-function"),
    no(GameError, r"^P_g.* shape \[\]; expected a law of 2", lambda: tabulated(P_g=lambda s, a: 1), "no-row"),
    no(GameError, "^P_g.* holds object", lambda: tabulated(P_g=lambda s, a: None), "returns-none"),
    no(GameError, "^r_g.* raised ZeroDivisionError", lambda: tabulated(r_g=lambda s, a: 1 / 0), "raises"),
    no(GameError, r"^r_g\[.*is nan", lambda: tabulated(r_g=lambda s, a: NAN), "returns-nan"),
    no(GameError, "^num_sg must be an integer at least 1", lambda: tabulated(num_sg=2.0), "num-sg-float"),
    no(GameError, "^num_al must be an integer at least 1", lambda: tabulated(num_al=0), "num-al-0"),
    no(SizeError, "^P_g would have .* use fewer states", lambda: tabulated(num_sg=10**9), "num-sg-1e9"),
]

INITIAL = [
    no(GameError, "^initial.sg holds object", lambda: am.InitialLaw(None, [1]), "no-law"),
    no(GameError, "^initial.local_mean sums to 0.5", lambda: initial(local_mean=[0.5]), "half-a-law"),
    no(GameError, "^initial.sg has shape .* axis sg is empty", lambda: initial(sg=[]), "empty"),
    no(GameError, r"^initial.local_mean\[sl=1\] is -0.5", lambda: initial(local_mean=[1.5, -0.5]), "negative"),
    *(
        no(
            GameError,
            r"^initial.strength must be a number in \(0, inf\]",
            lambda s=s: initial(strength=s),
            f"strength-{s}",
        )
        for s in (0, NAN, -1, "a")
    ),
    no(GameError, "^num_sg must be an integer at least 1", lambda: uniform(0, 2), "uniform-0"),
    no(GameError, "^num_sl must be an integer at least 1", lambda: uniform(2, -1), "uniform-negative"),
    no(SizeError, "^initial would have", lambda: uniform(2, 10**12), "uniform-1e12"),
    no(ArgumentError, "^device must be one of", lambda: uniform(2, 2).to("cuda:99"), "to-cuda-99"),
    no(ArgumentError, "^counts holds object", lambda: law(None), "counts-none"),
    no(ArgumentError, r"^counts have shape \[1, 3\]", lambda: law([[1, 2, 3]]), "counts-too-wide"),
    no(ArgumentError, r"^counts\[row=0, sl=0\] is 1.5", lambda: law([[1.5, 0.5]]), "counts-fractions"),
    no(ArgumentError, "rows of counts sum to 2..3", lambda: law([[1, 1], [1, 2]]), "counts-of-two-k"),
    no(SizeError, "more than 100,000,000 logarithms", lambda: law([[1e12, 3]]), "counts-1e12"),
    no(SizeError, "more than 100,000,000 logarithms", lambda: law([[1e30, 3]]), "counts-beyond-int64"),
    no(
        ArgumentError,
        "^episodes must be an integer at least 1, not -1",
        lambda: uniform(2, 2, 1.0).sample_mu(-1, GENERATOR),
        "sample-mu-negative",
    ),
    no(
        ArgumentError,
        "^episodes must be an integer at least 1, not 0",
        lambda: uniform(2, 2).sample_sg(0, GENERATOR),
        "sample-sg-0",
    ),
]

NAMED = [
    no(ArgumentError, "no game is named 'steeer'.*did you mean 'steer'", lambda: games.make("steeer"), "unknown"),
    no(ArgumentError, "no game is named None; the names are warehouse", lambda: games.make(None), "none"),
    no(ArgumentError, "no game is named", lambda: games.make(["steer"]), "list"),
    no(ArgumentError, "game 'steer' takes gamma, n; not foo", lambda: games.make("steer", foo=1), "argument"),
    no(GameError, "^gamma must be a number", lambda: games.make("steer", gamma=None), "steer-gamma"),
    no(ArgumentError, "^preset must be one of paper, code", lambda: games.warehouse(preset=["paper"]), "preset"),
    no(ArgumentError, "^num_zones must be an integer at least 2", lambda: games.warehouse(num_zones=1), "zones-1"),
    no(SizeError, "^P_l would have", lambda: games.warehouse(num_zones=HUGE), "zones-huge"),
    no(GameError, "^n must be an integer in", lambda: games.warehouse(n=0), "warehouse-n"),
    no(ArgumentError, r"^num_al must be an integer in 1\.\.3", lambda: games.ware(num_al=4), "ware-num-al"),
    no(SizeError, "^P_l would have", lambda: games.hash_game(num_sl=10**6), "hash-num-sl"),
    no(ArgumentError, r"^arrival must be a number in \(0, 1\]", lambda: games.beacon(arrival=NAN), "arrival-nan"),
    no(ArgumentError, "must not exceed 1/2", lambda: games.beacon(gamma=0.99, arrival=0.1), "arrival-too-late"),
    no(ArgumentError, "^seed must be an integer in 0", lambda: games.random_game(seed=-1), "random-seed"),
    no(ArgumentError, r"^laziness must be a number in \[0, 1\]", lambda: games.random_game(laziness=2), "laziness"),
    no(ArgumentError, "^counts holds object", lambda: games.beacon_value(None), "beacon-value-of-none"),
    no(ArgumentError, "counts.* sums to 0", lambda: games.beacon_value(torch.zeros(3, 2)), "beacon-value-of-nobody"),
]

SOLVE = [
    no(ArgumentError, "^game must be a Game, not NoneType", lambda: am.solve(None, 2), "no-game"),
    *(
        no(ArgumentError, r"^k must be an integer in 1\.\.10, not", lambda k=k: am.solve(STEER, k), f"k-{name}")
        for name, k in (
            ("0", 0),
            ("11", 11),
            ("float", 2.0),
            ("none", None),
            ("true", True),
            ("nan", NAN),
            ("text", "2"),
        )
    ),
    *(
        no(
            ArgumentError,
            f"^{name} must be one of '.*, not",
            lambda name=name, value=value: steer(**{name: value}),
            name,
        )
        for name, value in (
            *(("solver", "x"), ("l_learner", None), ("objective", ["team"])),
            *(("observation", "x"), ("accept", 1), ("select", "returns")),
        )
    ),
    *(
        no(
            ArgumentError,
            f"^{name} must be an? .*, not",
            lambda name=name, value=value: steer(**{name: value}),
            f"{name}-{value}",
        )
        for name, value in (
            *(("m", 0), ("m", 1.5), ("m", 10**9), ("starts", 0), ("starts", 10**6), ("steps", 0), ("steps", None)),
            *(("seed", -1), ("seed", 2**63), ("seed", None), ("eta", -1), ("eta", NAN), ("eta", INF), ("eta", None)),
            *(("eta", "x"), ("learning_rate", 0), ("learning_rate", NAN), ("learning_rate", "a")),
        )
    ),
    no(ArgumentError, "^l_learner='neural' needs solver='neural'", lambda: steer(l_learner="neural"), "l-learner"),
    no(ArgumentError, "'ucfh' needs solver='tabular'", lambda: steer(solver="neural", l_learner="ucfh"), "ucfh"),
    no(ArgumentError, "^chain must be tabular.ChainSettings, not int", lambda: steer(chain=3), "chain-3"),
    no(ArgumentError, "^chain .* no place in 'auto'", lambda: steer(chain=ChainSettings()), "chain-of-nothing"),
    no(ArgumentError, "needs m=None", lambda: steer(observation="posterior", m=3), "posterior-m"),
    no(ArgumentError, "^alpha is the prior of", lambda: steer(alpha=1.0), "alpha-without-posterior"),
    no(ArgumentError, "^alpha must be a number in", lambda: posterior(-1), "alpha-negative"),
    no(ArgumentError, "^alpha must be a number in", lambda: posterior(HUGE), "alpha-huge"),
    no(ArgumentError, "^alpha holds <U1", lambda: posterior("a"), "alpha-text"),
    no(ArgumentError, r"^alpha has shape \[3\]; this game needs", lambda: posterior([1, 2, 3]), "alpha-shape"),
    no(ArgumentError, r"^alpha\[.* is nan", lambda: posterior([1, NAN]), "alpha-nan"),
    *(
        no(
            ArgumentError,
            "^device must be one of auto, cpu",
            lambda device=device: steer(device=device),
            f"device-{device}",
        )
        for device in ("cuda:99", "tpu", "meta", "", None, 3)
    ),
    no(ArgumentError, "network", lambda: steer(solver="neural", network=3), "network-3"),
    no(SizeError, "too many to list", lambda: am.solve(games.warehouse(), 1000), "too-many-counts"),
    no(SizeError, "float32", lambda: am.solve(games.warehouse(n=10**9), 10**8, solver="neural"), "float32-counts"),
    *(
        no(ArgumentError, f"^{name} must be", lambda name=name: steer(**{name: 3}), f"{name}-3")
        for name in ("callback", "progress")
    ),
]

PLAYING = [
    no(ArgumentError, "^game must be a Game, not NoneType", lambda: am.rollout(None, PAIR), "rollout-no-game"),
    no(PolicyError, "^pair must have k, pi_l and dispatcher", lambda: am.rollout(STEER, STEER), "rollout-no-pair"),
    no(ArgumentError, "^episodes must be an integer", lambda: roll(episodes=1.5), "episodes"),
    no(SizeError, "too many to keep", lambda: roll(episodes=10**12), "episodes-1e12"),
    no(SizeError, "too many to keep", lambda: roll(horizon=10**10), "horizon-1e10"),
    no(ArgumentError, "^horizon must be an integer", lambda: roll(horizon="5"), "horizon-text"),
    no(ArgumentError, r"^k must be an integer in 1\.\.1, not 2", lambda: roll(n=1), "k-above-n"),
    no(ArgumentError, r"^n must be an integer in 1\.\.", lambda: roll(n=10**17), "rollout-n"),
    no(ArgumentError, "^seed must be an integer at least 0", lambda: roll(seed=0.5), "rollout-seed"),
    no(PolicyError, "this game needs", lambda: am.rollout(games.warehouse(), PAIR), "rollout-other-game"),
    no(PolicyError, "^pair must have", lambda: am.paired_difference(STEER, PAIR, None), "difference-of-one"),
    no(ArgumentError, "^episodes must be .* at least 2", lambda: difference(episodes=1), "one-difference"),
    no(ArgumentError, r"^level must be a number in \(0, 1\)", lambda: difference(level=NAN), "level-nan"),
    no(ArgumentError, "^game must be a Game", lambda: am.rollout_gaps(None, PAIR), "gaps-no-game"),
    no(PolicyError, "^pair must have", lambda: am.rollout_gaps(STEER, None), "gaps-no-pair"),
    no(ArgumentError, "^episodes must be .* at least 4, not 3", lambda: gaps(episodes=3), "gaps-3"),
    no(ArgumentError, "^episodes must be .* at least 4", lambda: gaps(episodes="a"), "gaps-text"),
    no(ArgumentError, "^seed must be an integer", lambda: gaps(seed=-1), "gaps-seed"),
    no(ArgumentError, "^horizon must be", lambda: gaps(horizon=0), "gaps-horizon"),
]

VALUES = [
    no(ArgumentError, "^game must be a Game", lambda: am.certify(None, PAIR), "certify-no-game"),
    no(PolicyError, "a NoneType has no table pi_g", lambda: am.certify(STEER, None), "certify-nothing"),
    no(
        PolicyError,
        "has no table pi_g",
        lambda: am.certify(STEER, heuristic_pair(STEER, 2, "hold", "walk")),
        "certify-rule",
    ),
    no(ArgumentError, "^parts must be among global, single, shared, not x", lambda: certify(parts=["x"]), "parts-x"),
    no(ArgumentError, "^parts must be among", lambda: certify(parts=None), "parts-none"),
    no(ArgumentError, "^parts must be among", lambda: certify(parts=[1, ["global"]]), "parts-lists"),
    *(
        no(
            ArgumentError,
            r"^tolerance must be a number in \(0, inf\]",
            lambda x=x: certify(tolerance=x),
            f"certify-tolerance-{x}",
        )
        for x in (0, -1, NAN, "a")
    ),
    no(ArgumentError, "^progress must be a function or None", lambda: certify(progress=3), "certify-progress"),
    no(ArgumentError, "^k must be", lambda: am.certify(STEER.replace(n=1), PAIR), "certify-k-above-n"),
    no(PolicyError, "^pi_g", lambda: am.certify(games.warehouse(), PAIR), "certify-other-game"),
    no(
        PolicyError,
        "^pi_g.* sums to 2",
        lambda: am.certify(STEER, TabularPair(2 * PI_G, PI_L, PLAN.simplex)),
        "certify-no-law",
    ),
    no(ArgumentError, "^surrogate must be a Surrogate", lambda: am.joint_value(None, PI_G), "value-of-nothing"),
    no(PolicyError, r"^pi_g .* must have the shape \[2, 3, 2\], not NoneType", lambda: value(None), "value-no-pi-g"),
    no(PolicyError, "^pi_g.* sums to 2", lambda: value(2 * PI_G), "value-no-law"),
    no(PolicyError, "^pi_g.* is nan", lambda: value(NAN * PI_G), "value-nan"),
    no(PolicyError, r"^pi_g .* not \[1, 3, 2\]", lambda: value(PI_G[:1]), "value-shape"),
    no(ArgumentError, "^tolerance must be", lambda: value(PI_G, tolerance=-1), "value-tolerance"),
    no(ArgumentError, "^game must be a Game", lambda: am.population_value(None, PAIR), "population-no-game"),
    no(PolicyError, "a NoneType has no table", lambda: am.population_value(STEER, None), "population-nothing"),
    no(ArgumentError, r"^k must be .* 1\.\.1", lambda: population(n=1), "population-k-above-n"),
    no(ArgumentError, "^n must be an integer", lambda: population(n=2.0), "population-n-float"),
    no(SizeError, "use rollouts", lambda: population(n=10**8), "population-1e8"),
    no(ArgumentError, "^tolerance must be", lambda: population(tolerance=NAN), "population-tolerance"),
    no(ArgumentError, "^horizon must be", lambda: surrogate_promise(STEER, PAIR, horizon="a"), "promise-horizon"),
    no(SizeError, "too many to keep", lambda: surrogate_promise(STEER, PAIR, horizon=10**9), "promise-1e9"),
    no(ArgumentError, "^game must be a Game", lambda: am.bellman_noise(None, PI_L, 2, 3), "noise-no-game"),
    no(PolicyError, "^pi_l", lambda: am.bellman_noise(STEER, 2 * PI_L, 2, 3), "noise-no-law"),
    no(ArgumentError, r"^k must be .* 1\.\.10", lambda: noise(11, 3), "noise-k"),
    no(ArgumentError, "^m must be", lambda: noise(2, 0), "noise-m"),
    no(ArgumentError, "^draws must be", lambda: noise(2, 3, draws=1.5), "noise-draws"),
    no(ArgumentError, "^seed must be", lambda: noise(2, 3, seed=-1), "noise-seed"),
    no(
        ArgumentError, "^game must be a Game", lambda: deviation_changes(None, PI_G, PI_L, PI_L, 2), "deviation-no-game"
    ),
    no(PolicyError, "^pi_l", lambda: deviation_changes(STEER, PI_G, PI_L, None, 2), "deviation-none"),
]

COUNTS = [
    no(ArgumentError, r"^k must be an integer in 0\.\.", lambda: simplex(-1), "k-negative"),
    no(ArgumentError, r"^k must be an integer in 0\.\.", lambda: simplex(10**30), "k-1e30"),
    no(ArgumentError, r"^num_sl must be an integer in 1\.\.", lambda: simplex(2, 0), "no-states"),
    no(ArgumentError, "^device must be one of", lambda: simplex(device="nowhere"), "device-nowhere"),
    no(ArgumentError, "^device must be one of .* not None", lambda: simplex(device=None), "device-none"),
    no(SizeError, "too many to list .* use a smaller k", lambda: simplex(1000, 20).counts, "too-many"),
    no(SizeError, "too many to count exactly", lambda: simplex(10**18, 10**18).size, "uncountable"),
    no(ArgumentError, "no agents have no frequencies", lambda: simplex(0).frequencies, "frequencies-of-nobody"),
    no(ArgumentError, "counts must be a tensor of integers, not list", lambda: simplex().rank([1, 1]), "rank-list"),
    no(ArgumentError, "counts must be integers", lambda: simplex().rank(tensor([1.0, 1.0])), "rank-floats"),
    no(ArgumentError, "counts must be integers", lambda: simplex().rank(tensor([1, 1, 0])), "rank-width"),
    no(ArgumentError, "sums to 18; .* sum to k = 2", lambda: simplex().rank(tensor([9, 9])), "rank-of-18"),
    no(ArgumentError, r"outside 0\.\.2", lambda: simplex().unrank(3), "unrank-3"),
    *(
        no(
            ArgumentError,
            "an index must be an integer",
            lambda i=i, k=k, s=s: simplex(k, s).unrank(i),
            f"unrank-{i}-of-{k}",
        )
        for k, s in ((2, 2), (1000, 20))
        for i in (1.5, NAN, None, "a")
    ),
    no(ArgumentError, "^P holds object", lambda: kernel(None, 2), "kernel-of-nothing"),
    no(ArgumentError, "square matrix", lambda: kernel(COIN[:1], 2), "kernel-not-square"),
    no(ArgumentError, r"^P\[sl=0\] sums to 2", lambda: kernel(2 * COIN, 2), "kernel-no-law"),
    no(ArgumentError, "is nan", lambda: kernel(NAN * COIN, 2), "kernel-nan"),
    no(ArgumentError, "^P has shape .* axis sl is empty", lambda: kernel(torch.zeros(0, 0), 2), "kernel-empty"),
    no(ArgumentError, "^k must be an integer", lambda: kernel(COIN, 2.0), "kernel-k"),
    no(SizeError, "too many to list", lambda: kernel(COIN, 10**9), "kernel-1e9"),
    no(ArgumentError, "^plan must be a PairPlan, not int", lambda: kernel(COIN, 2, plan=3), "kernel-plan"),
    no(ArgumentError, "the plan is of", lambda: kernel(COIN, 3, plan=PLAN), "kernel-other-plan"),
    no(ArgumentError, "must be a tensor", lambda: kernel(COIN, 2).expect([1, 2, 3]), "expect-list"),
    no(ArgumentError, r"\[N, ...\] is needed", lambda: kernel(COIN, 2).push(torch.zeros(4)), "push-shape"),
    no(
        ArgumentError,
        "real numbers, not torch.complex64",
        lambda: kernel(COIN, 2).expect(torch.zeros(3).cfloat()),
        "expect-complex",
    ),
    no(ArgumentError, "^m must be an integer", lambda: am.SampledCountKernel(COIN, 2, 0, GENERATOR), "sampled-m"),
    no(
        ArgumentError,
        "^generator must be a Generator, not int",
        lambda: am.SampledCountKernel(COIN, 2, 1, 3),
        "sampled-generator",
    ),
]

ACTING = [
    no(ArgumentError, "^s_g holds object", lambda: act(None, None), "nothing"),
    no(ArgumentError, "counts.* sums to 3; .* k = 2", lambda: act([0], [[1, 2]]), "three-agents"),
    no(ArgumentError, r"^s_g\[batch=0\] is 2; global states are 0\.\.1", lambda: act([2], [[1, 1]]), "s-g-2"),
    no(ArgumentError, r"^s_g\[batch=0\] is -1", lambda: act([-1], [[1, 1]]), "s-g-negative"),
    no(ArgumentError, r"^s_g\[batch=0\] is 0.5", lambda: act([0.5], [[1, 1]]), "s-g-half"),
    no(ArgumentError, r"^s_g\[batch=0\] is nan", lambda: act([NAN], [[1, 1]]), "s-g-nan"),
    no(ArgumentError, "^s_g is of one system: its counts are a row", lambda: act(0, [[1, 1]]), "s-g-scalar"),
    no(ArgumentError, "^s_g holds <U1", lambda: act(["a"], [[1, 1]]), "s-g-text"),
    no(ArgumentError, "^counts has shape .* 1 axes", lambda: act([0], [1, 1]), "counts-one-axis"),
    no(ArgumentError, r"^counts must have shape \[batch, sl\] = \[2, 2\]", lambda: act([0, 1], [[1, 1]]), "batches"),
    no(ArgumentError, r"^counts\[batch=0, sl=1 \(zone 1\)\] is -1", lambda: act([0], [[3, -1]]), "counts-negative"),
    no(ArgumentError, r"^counts\[batch=0, sl=0 \(zone 0\)\] is 1.5", lambda: act([0], [[1.5, 0.5]]), "counts-half"),
    no(ArgumentError, "axis batch is empty", lambda: act([], []), "empty-batch"),
    no(ArgumentError, "^seed must be", lambda: PAIR.dispatcher("a"), "dispatcher-seed"),
    no(ArgumentError, "^batch must be an integer at least 0, not -1", lambda: remembering().reset(-1), "reset"),
    no(ArgumentError, "call reset first", lambda: remembering().act([0], [[1, 1]]), "before-reset"),
    no(PolicyError, "^pi_g holds object", lambda: TabularDispatcher(None, PLAN.simplex), "no-pi-g"),
    no(ArgumentError, "^simplex must be a CountSimplex", lambda: TabularDispatcher(PI_G, None), "no-simplex"),
    no(
        PolicyError,
        r"^pi_g .* must have shape \[2, 4, 2\]",
        lambda: TabularDispatcher(PI_G, simplex(3)),
        "other-simplex",
    ),
    no(
        PolicyError,
        r"^local actions must be in 0\.\.1; got 0\.\.2",
        lambda: deterministic_local(tensor([[0, 2]]), 2),
        "action-2",
    ),
    no(PolicyError, "^actions.* is 0.5", lambda: deterministic_local(tensor([[0.5, 0]]), 2), "action-half"),
    no(PolicyError, "^actions holds object", lambda: deterministic_local(None, 2), "no-actions"),
    no(ArgumentError, "rules are uniform, hold.*walkers", lambda: heuristic_pair(STEER, 2, "x", "walk"), "rule-x"),
    no(ArgumentError, "rules are uniform", lambda: heuristic_pair(STEER, 2, ["hold"], None), "rule-list"),
    no(ArgumentError, r"^k must be an integer in 1\.\.10", lambda: heuristics.heuristic_pairs(STEER, 99), "pairs-k"),
    no(ArgumentError, "^game must be a Game", lambda: heuristic_pair(None, 2, "hold", "walk"), "pair-no-game"),
]

THEORY = [
    no(ArgumentError, "^k must be an integer at least 1, not 0", lambda: theory.eta_algorithm_3(STEER, 0), "eta-k-0"),
    no(
        ArgumentError,
        "^k must be an integer at least 1, not 1.5",
        lambda: theory.sweeps_algorithm_3(STEER, 1.5),
        "sweeps-k",
    ),
    no(ArgumentError, r"^k must be at most 1e\+100", lambda: theory.eta_algorithm_3(STEER, HUGE), "eta-k-huge"),
    no(
        ArgumentError,
        r"^k must be an integer in 1\.\.10, not 11",
        lambda: theory.gap_theorem_b16(STEER, 11),
        "gap-k-above-n",
    ),
    no(
        ArgumentError,
        "^k must be an integer at least 0, not -1",
        lambda: theory.count_vectors(STEER, -1),
        "vectors-of-less",
    ),
    no(ArgumentError, "^k must be an integer at least 0", lambda: theory.count_vectors(STEER, 1.5), "vectors-of-1.5"),
    no(SizeError, "more than 1,000,000 digits", lambda: theory.q_entries_tuples(STEER, 10**12), "tuples-of-1e12"),
    no(SizeError, "is counted up to k =", lambda: theory.states_algorithm_9_literal(STEER, 10**9), "literal-of-1e9"),
    no(
        ArgumentError,
        r"^delta must be a number in \(0, 1\)",
        lambda: theory.deviation_theorem_b26(STEER, 2, delta=NAN),
        "delta-nan",
    ),
    no(
        ArgumentError,
        "^delta must be at least 1e-100",
        lambda: theory.approximation_theorem_b27(STEER, 2, delta=1e-320),
        "delta-tiny",
    ),
    no(
        ArgumentError,
        r"^epsilon must be a number in \(0, inf\)",
        lambda: theory.horizon_lemma_c1(STEER, epsilon=0),
        "epsilon-0",
    ),
    no(
        ArgumentError,
        "^epsilon must be at least 1e-100",
        lambda: theory.horizon_lemma_c1(STEER, epsilon=1e-320),
        "epsilon-tiny",
    ),
    no(
        ArgumentError,
        "^epsilon must be at least 1e-100",
        lambda: theory.algorithm_5(4, 2, 5, 2, epsilon=1e-320, delta=0.1),
        "ucfh-epsilon",
    ),
    no(
        ArgumentError,
        "^num_states must be an integer",
        lambda: theory.algorithm_5(0, 2, 5, 2, epsilon=1, delta=1),
        "ucfh-states",
    ),
    *(
        no(
            ArgumentError,
            r"^bellman_noise must be a number in \[0, inf\)",
            lambda x=x: theory.gap_theorem_4_2(STEER, 2, bellman_noise=x),
            f"noise-{x}",
        )
        for x in (-1, NAN, INF, None)
    ),
    no(
        ArgumentError,
        r"^reward_range must be a number in \[0, inf\)",
        lambda: theory.xi_lemma_f4(STEER, 2, reward_range=NAN),
        "range-nan",
    ),
    no(
        ArgumentError,
        r"^eta must be a number in \(0, inf\)",
        lambda: theory.steps_lemma_d16(STEER, 2, eta=0),
        "steps-eta",
    ),
    no(ArgumentError, "^m must be an integer", lambda: theory.noise_lemma_b35(STEER, 2, m=0, rho=0.1), "noise-m"),
    no(
        ArgumentError,
        r"^rho must be a number in \(0, 1\)",
        lambda: theory.noise_lemma_b35(STEER, 2, m=3, rho=1),
        "noise-rho",
    ),
    no(
        ArgumentError,
        "^mixing_steps must be",
        lambda: theory.error_theorem_e4(STEER, 2, alpha=0.1, steps=5, mixing_steps=None),
        "mixing",
    ),
    no(
        SizeError,
        "measure them in larger units",
        lambda: theory.samples_theorem_4_4(game(r_g=[[1e300, 0], [0, 0]]), 2),
        "rewards-squared",
    ),
]

CHAINS = [
    no(ArgumentError, "^game must be a Game", lambda: chained_mdp(None, PI_G, 2), "no-game"),
    no(PolicyError, "^pi_g holds object", lambda: chained_mdp(STEER, None, 2), "no-pi-g"),
    no(ArgumentError, r"^k must be .* 1\.\.10", lambda: chained(11), "k-11"),
    no(PolicyError, "^pi_g .* must have shape", lambda: chained(3), "k-3"),
    no(ArgumentError, "^form must be one of", lambda: chained(2, ["tuple"]), "form"),
    no(ArgumentError, "^objective must be one of", lambda: chained(2, "tuple", "x"), "objective"),
    no(ArgumentError, "^horizon must be an integer", lambda: chained(2, "tuple", "team", 2.5), "horizon"),
    no(SizeError, "too long: at most 10,000,000", lambda: chained(2, "tuple", "team", 10**9), "horizon-1e9"),
    no(ArgumentError, "^initial must be an InitialLaw", lambda: chained(2, initial=3), "initial"),
    no(SizeError, "too many to list", lambda: chained_mdp(STEER.replace(n=10**9), PI_G, 10**9), "k-1e9"),
    no(ArgumentError, r"^epsilon must be a number in \(0, 1\]", lambda: ChainSettings(epsilon="x"), "settings-epsilon"),
    no(ArgumentError, r"^delta must be a number in \(0, 1\]", lambda: ChainSettings(delta=None), "settings-delta"),
    no(ArgumentError, r"^confidence must be a number", lambda: ChainSettings(confidence=0), "settings-confidence"),
    no(ArgumentError, "^form must be one of", lambda: ChainSettings(form=[]), "settings-form"),
    no(ArgumentError, "^ascent must be True or False", lambda: ChainSettings(ascent=1), "settings-ascent"),
    no(ArgumentError, "^max_episodes must be", lambda: ChainSettings(max_episodes=0), "settings-episodes"),
    no(
        ArgumentError,
        "^settings must be a ChainSettings",
        lambda: chain_l_learn(STEER, PI_G, 2, settings=3),
        "settings-3",
    ),
    no(ArgumentError, "^mdp must be an EpisodicMDP, not NoneType", lambda: ucfh(None), "ucfh-nothing"),
    no(ArgumentError, r"^epsilon must be a number in \(0, 1\]", lambda: ucfh(CHAIN, NAN), "ucfh-epsilon"),
    no(ArgumentError, "^m_scale must be", lambda: ucfh(CHAIN, m_scale=None), "ucfh-m-scale"),
    no(ArgumentError, "^first_update must be", lambda: ucfh(CHAIN, first_update=1.5), "ucfh-first-update"),
    no(
        ArgumentError,
        r"^max_seconds must be a number in \(0, inf\]",
        lambda: ucfh(CHAIN, max_seconds=NAN),
        "ucfh-seconds",
    ),
    no(ArgumentError, "^seed must be", lambda: ucfh(CHAIN, seed="a"), "ucfh-seed"),
    no(ArgumentError, "^sample must be a function", lambda: ucfh(CHAIN, sample=3), "ucfh-sample-3"),
    no(ArgumentError, "sample", lambda: ucfh(CHAIN, sample=lambda policy, episodes: None), "ucfh-sample-none"),
    no(ArgumentError, "^P holds object", lambda: mdp(P=None), "mdp-nothing"),
    no(ArgumentError, "sizes disagree", lambda: mdp(r=[[0.0, 1.0]]), "mdp-sizes"),
    no(ArgumentError, "^r.* is nan", lambda: mdp(r=[[NAN]]), "mdp-nan"),
    no(ArgumentError, r"^discount must be a number in \[0, 1\]", lambda: mdp(discount=2), "mdp-discount"),
    no(ArgumentError, "^start_law sums to 2", lambda: mdp(start_law=[2.0]), "mdp-start"),
    no(SizeError, "too long", lambda: mdp(horizon=10**10), "mdp-1e10"),
    no(ArgumentError, "^surrogate must be a Surrogate", lambda: g_learn(None), "g-learn-nothing"),
    no(ArgumentError, "^tolerance must be", lambda: g_learn(SURROGATE, tolerance="a"), "g-learn-tolerance"),
    no(ArgumentError, "needs a generator", lambda: g_learn(SURROGATE, m=3), "g-learn-generator"),
    no(ArgumentError, "^plan must be a PairPlan", lambda: l_learn(STEER, PI_G, PI_L, None), "l-learn-plan"),
]

CONFIGURATIONS = [
    *(
        no(
            ArgumentError,
            f"^{name} must be .*not",
            lambda name=name, value=value: TrainConfig(**{name: value}),
            f"{name}-{value}",
        )
        for name, value in (
            *(("game", 3), ("k", None), ("k", "3"), ("n", 2**54), ("gamma", NAN), ("gamma", "a"), ("preset", [])),
            *(
                ("solver", None),
                ("m", 0),
                ("epsilon", "x"),
                ("delta", NAN),
                ("confidence", 2),
                ("eta", []),
                ("accept", {}),
            ),
            *(("starts", 0), ("certify", True), ("episodes", None), ("horizon", NAN), ("seed", -1), ("device", 3)),
            *(("learning_rate", None), ("compile", "yes"), ("runs_dir", None), ("quiet", 1)),
        )
    ),
    no(
        ArgumentError,
        "no option is called foo; the options are game",
        lambda: TrainConfig.from_dict({"foo": 1}),
        "unknown",
    ),
    *(no(ArgumentError, "mapping", lambda x=x: TrainConfig.from_dict(x), f"from-{x}") for x in (None, "k")),
    no(ArgumentError, "no option is called 3", lambda: TrainConfig.from_dict({3: 1}), "from-3"),
    *(
        no(ArgumentError, "no list of whole numbers like", lambda text=text: numbers(text), f"numbers-{text}")
        for text in ("", "1:", "3:1", "1:3:0", "1,,2", "1:10:2:3", "1.5")
    ),
    no(ArgumentError, "more than 100,000 numbers", lambda: numbers("1:99999999999999999999"), "numbers-too-many"),
    no(ArgumentError, "no list of whole numbers", lambda: numbers("9" * 5000), "numbers-too-long"),
    no(ArgumentError, "whole numbers", lambda: numbers(3), "numbers-3"),
    no(ArgumentError, "^k must be different whole numbers, at least one", lambda: plan(ks=[]), "plan-no-k"),
    no(ArgumentError, "^k must be different whole numbers", lambda: plan(ks=[1, 1]), "plan-k-twice"),
    no(ArgumentError, "^seeds must be an integer in", lambda: plan(seeds=0), "plan-seeds-0"),
    no(ArgumentError, r"^seeds must be an integer in 0\.\.", lambda: plan(seeds=[2**63]), "plan-seed-2e63"),
    no(ArgumentError, "^name must be the name of a folder", lambda: plan(name="a/b"), "plan-name"),
    *(no(ArgumentError, "^k must be", lambda ks=ks: plan(ks=ks), f"plan-k-{ks}") for ks in (3, [1, 2.5], [1, NAN])),
    *(no(ArgumentError, "^seeds must be", lambda s=s: plan(seeds=s), f"plan-seeds-{s}") for s in (None, 1.5, ["a"])),
    *(no(ArgumentError, "^name must be", lambda n=n: plan(name=n), f"plan-name-{n!r}") for n in (3, "a\0b")),
]

LIBRARY = {
    **{"game": GAME, "initial": INITIAL, "named": NAMED, "solve": SOLVE, "playing": PLAYING, "values": VALUES},
    **{"counts": COUNTS, "acting": ACTING, "theory": THEORY, "chains": CHAINS, "configurations": CONFIGURATIONS},
}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [pytest.param(*c.values, id=f"{group}-{c.id}", marks=c.marks) for group, cases in LIBRARY.items() for c in cases],
)
def test_a_malformed_call_is_refused_with_a_word_for_it(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def steered(*words):
    return (*words, "--game", "steer", "--k", "1", "--solver", "tabular", "--quiet")


COMMANDS = {
    "no-command": (["bare-words"], 2, "invalid choice: 'bare-words'"),
    "flag": (["train", "--nope"], 2, "unrecognized arguments: --nope"),
    "flag-alone": (["train", "--k"], 2, "expected one argument"),
    "surplus": (["train", "surplus"], 2, "unrecognized arguments"),
    "k-text": (["train", "--k", "x"], 2, "invalid int value: 'x'"),
    "k-0": (["train", "--k", "0"], 2, "k must be an integer at least 1, not 0"),
    "k-above-n": (["train", "--game", "steer", "--k", "101"], 2, r"k must be an integer in 1\.\.100, not 101"),
    "n-0": (["train", "--n", "0"], 2, r"n must be an integer in 1\.\."),
    "n-1.5": (["train", "--n", "1.5"], 2, "invalid int value: '1.5'"),
    "gamma-1": (["train", "--gamma", "1"], 2, r"gamma must be a number in \[0, 1\), not 1.0"),
    "gamma-nan": (["train", "--gamma", "nan"], 2, "gamma must be a number .* not nan"),
    "game-unknown": (["train", "--game", "steeer"], 2, "did you mean 'steer'"),
    "game-empty": (["train", "--game", ""], 2, "game must not be empty"),
    "game-missing": (["train", "--game", "{here}/missing.npz"], 2, "there is no such file"),
    "game-text": (["train", "--game", "{here}/text.npz"], 1, "text.npz is no readable .npz archive"),
    "game-folder": (["train", "--game", "{here}/folder.npz"], 2, "there is no such file"),
    "preset": (["train", "--game", "steer", "--preset", "code"], 2, "preset must be paper for game 'steer'"),
    "solver": (["train", "--solver", "x"], 2, "invalid choice: 'x'"),
    "l-learner": (["train", "--solver", "tabular", "--l-learner", "neural"], 2, "needs solver='neural'"),
    "table": (["train", "--solver", "tabular", "--k", "1000"], 1, "too many to list .* use a smaller k"),
    "chain": (["train", "--solver", "tabular", "--l-learner", "ucfh", "--k", "50"], 1, "transitions are listed"),
    "m": (["train", "--m", "0"], 2, r"m must be an integer in 1\.\."),
    "epsilon": (["train", "--epsilon", "x"], 2, r"epsilon must be a number in \(0, 1\]"),
    "epsilon-tiny": (["train", "--epsilon", "1e-320"], 2, "epsilon must be at least 1e-100"),
    "delta": (["train", "--delta", "nan"], 2, r"delta must be a number in \(0, 1\], not nan"),
    "confidence": (["train", "--confidence", "2"], 2, "confidence must be a number"),
    "eta": (["train", "--eta", "x"], 2, "eta must be a number in .* or one of auto, paper"),
    "starts": (["train", "--starts", "0"], 2, r"starts must be an integer in 1\.\.1000"),
    "steps": (["train", "--steps", "0"], 2, "steps must be an integer"),
    "episodes": (["train", "--episodes", "0"], 2, "episodes must be an integer at least 1"),
    "episodes-1e12": (["train", "--episodes", str(10**12)], 1, "too many to keep"),
    "horizon": (["train", "--horizon", "-1"], 2, "horizon must be an integer at least 1, not -1"),
    "seed": (["train", "--seed", str(2**63)], 2, r"seed must be an integer in 0\.\."),
    "learning-rate": (["train", "--learning-rate", "nan"], 2, r"learning_rate must be a number in \(0, inf\)"),
    "device-cuda-99": (["train", "--device", "cuda:99"], 2, "device must be one of auto, cpu.* not 'cuda:99'"),
    "device-tpu": (["train", "--device", "tpu"], 2, "device must be one of"),
    "device-meta": (["train", "--device", "meta"], 2, "device must be one of"),
    "runs-dir-empty": (["train", "--runs-dir", ""], 2, "runs_dir must not be empty"),
    "runs-dir-below-a-file": (steered("train", "--runs-dir", "{here}/text.npz/below"), 1, "below.*: Not a directory"),
    "runs-dir-a-file": (
        steered("train", "--runs-dir", "{here}/text.npz"),
        1,
        "text.npz.*: (File exists|Not a directory)",
    ),
    "runs-dir-in-proc": (steered("train", "--runs-dir", "/proc/nowhere"), 1, "/proc/nowhere.*: No such file"),
    "evaluate-nothing": (["evaluate"], 2, "required: RUN"),
    "evaluate-missing": (["evaluate", "{here}/missing"], 1, "is no run folder: there is no such directory"),
    "evaluate-file": (["evaluate", "{here}/text.npz"], 1, "is no run folder"),
    "evaluate-empty": (["evaluate", "{here}/folder.npz"], 1, "not the folder of a finished run: it lacks config.json"),
    "evaluate-damaged": (["evaluate", "{here}/damaged"], 1, "policy.npz"),
    "evaluate-n-below-k": (["evaluate", "{run}", "--n", "1"], 2, r"k must be an integer in 1\.\.1, not 2"),
    "evaluate-n": (["evaluate", "{run}", "--n", str(10**17)], 2, r"n must be an integer in 1\.\."),
    "evaluate-episodes": (["evaluate", "{run}", "--episodes", str(10**12)], 1, "too many to keep"),
    "evaluate-horizon": (["evaluate", "{run}", "--horizon", "0"], 2, "horizon must be an integer at least 1"),
    "evaluate-seed": (["evaluate", "{run}", "--seed", "-1"], 2, "seed must be an integer at least 0"),
    "certify-nothing": (["certify"], 2, "required: RUN"),
    "certify-missing": (["certify", "{here}/missing"], 1, "is no run folder"),
    "certify-damaged": (["certify", "{here}/damaged"], 1, "policy.npz"),
    "certify-flag": (["certify", "{run}", "--slow"], 2, "unrecognized arguments: --slow"),
    "bounds-k-text": (["bounds", "--k", "1,x"], 2, "'1,x' is no list of whole numbers"),
    "bounds-k-empty": (["bounds", "--k", ""], 2, "'' is no list of whole numbers"),
    "bounds-k-above-n": (["bounds", "--k", "1,1001"], 2, r"k must be an integer in 1\.\.1000, not 1001"),
    "bounds-k-large": (["bounds", "--n", "1000000", "--k", "20000"], 2, r"k must be an integer in 1\.\.10000"),
    "bounds-m": (["bounds", "--m", "0"], 2, "m must be an integer at least 1"),
    "bounds-delta": (["bounds", "--delta", "nan"], 2, r"delta must be a number in \(0, 1\)"),
    "bounds-delta-tiny": (["bounds", "--delta", "1e-320"], 2, "delta must be at least 1e-100"),
    "bounds-game": (["bounds", "--game", "nope"], 2, "no game is named 'nope'"),
    "bounds-rewards": (["bounds", "--game", "{here}/large.npz", "--k", "1"], 1, "measure them in larger units"),
    "chains-k": (["chains", "--k", "0"], 2, r"k must be an integer in 1\.\.100"),
    "chains-epsilon": (["chains", "--epsilon", "1e-320"], 2, "epsilon must be at least 1e-100"),
    "chains-delta": (["chains", "--delta", "2"], 2, r"delta must be a number in \(0, 1\]"),
    "chains-gamma": (["chains", "--gamma", "1"], 2, "gamma must be a number"),
    "games-surplus": (["games", "surplus"], 2, "unrecognized arguments: surplus"),
    "sweep-k-empty": (["sweep", "--k", ""], 2, "no list of whole numbers"),
    "sweep-k-backwards": (["sweep", "--k", "3:1"], 2, "'3:1' is no list of whole numbers"),
    "sweep-k-many": (["sweep", "--k", "1:1000000"], 2, "more than 100,000 numbers"),
    "sweep-k-above-n": (["sweep", "--game", "steer", "--k", "1,101"], 2, r"k must be an integer in 1\.\.100, not 101"),
    "sweep-seeds": (["sweep", "--seeds", "0"], 2, r"seeds must be an integer in 1\.\.100000"),
    "sweep-jobs": (
        steered("sweep", "--jobs", "0", "--runs-dir", "{here}/new"),
        2,
        "jobs must be an integer at least 1",
    ),
    "sweep-name": (["sweep", "--name", ".."], 2, "name must be the name of a folder"),
    "sweep-device": (["sweep", "--device", "tpu"], 2, "device must be one of"),
    "sweep-below-a-file": (steered("sweep", "--runs-dir", "{here}/text.npz/below"), 1, "below.*: Not a directory"),
    "plot-nothing": (["plot"], 2, "required: SWEEP"),
    "plot-missing": (["plot", "{here}/missing"], 1, "is no sweep: it has no sweep.json"),
    "plot-a-run": (["plot", "{run}"], 1, "is no sweep"),
    "plot-k-text": (["plot", "{run}", "--k", "x"], 2, "no list of whole numbers"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A finished run, one with a damaged policy, and files that are no games."""
    here = tmp_path_factory.mktemp("places")
    small = ("--episodes", "2", "--horizon", "2", "--certify", "never")
    words = ["train", "--game", "steer", "--k", "2", "--solver", "tabular", "--quiet", *small]
    assert main([*words, "--runs-dir", str(here / "runs")]) == 0
    (run,) = (here / "runs").iterdir()
    (here / "damaged").mkdir()
    for file in run.iterdir():
        (here / "damaged" / file.name).write_bytes(file.read_bytes()[: 100 if file.name == "policy.npz" else None])
    (here / "text.npz").write_text("no game")
    (here / "folder.npz").mkdir()
    game(r_g=[[1e300, 0], [0, 0]]).save(here / "large.npz")
    return {"here": here, "run": run}


@pytest.mark.parametrize(("words", "code", "message"), COMMANDS.values(), ids=COMMANDS)
def test_a_malformed_command_is_one_line(words, code, message, places, capsys, monkeypatch):
    monkeypatch.chdir(places["here"])
    assert main([word.format(**places) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    assert re.search(message, line), line


WRITERS = {"game": STEER.save, "solution": PAIR.save}
NOWHERE = {"below-a-file": ("/proc/version/below.npz", NotADirectoryError), "in-proc": ("/proc/nowhere/x", OSError)}


@pytest.mark.parametrize("place", NOWHERE)
@pytest.mark.parametrize("what", WRITERS)
def test_an_unwritable_place_is_the_file_systems_error(what, place):
    path, error = NOWHERE[place]
    with pytest.raises(error, match=r"/proc/"):
        WRITERS[what](path)


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_leaves_the_file_that_was_there(what, tmp_path):
    file = tmp_path / "x.npz"
    file.write_bytes(b"before")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        WRITERS[what](file)
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_run_on_a_full_disk_is_one_line(tmp_path, capsys):
    with full_disk():
        code = main([*steered("train"), "--runs-dir", str(tmp_path)])
    assert code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}")
    assert line.endswith("File too large")


def single(r_g=1.0, r_l=2.0, **options):
    """One state and one action for everybody."""
    return am.Game(P_g=[[[1]]], P_l=[[[[1]]]], r_g=[[r_g]], r_l=[[[r_l]]], **({"gamma": 0.9, "n": 3} | options))


def still(**changes):
    """Nobody ever moves: r_g = 1{s_g = 1}, r_l = 1{s_l = 0}."""
    stand = {"P_g": np.eye(2)[:, None], "P_l": np.broadcast_to(np.eye(2)[:, None, None], (2, 2, 1, 2))}
    rewards = {"r_g": [[0], [1]], "r_l": [[[1], [1]], [[0], [0]]]}
    return am.Game(**(stand | rewards | {"gamma": 0.5, "n": 4} | changes))


def drawn(**options):
    return games.random_game(seed=1, **({"num_sg": 2, "num_sl": 2, "num_ag": 2, "num_al": 2, "n": 5} | options))


def scaled(factor):
    return drawn().replace(r_g=factor * drawn().r_g, r_l=factor * drawn().r_l)


SWAP, LAST = np.eye(2)[::-1].copy(), np.array([[0.0, 1.0], [0.0, 1.0]])
SWAP_L = np.broadcast_to(SWAP[:, None, None], (2, 2, 1, 2))
ZERO = {"r_g": np.zeros((2, 2)), "r_l": np.zeros((2, 2, 2))}

ODD = {  # a game, k, and what it is worth by hand: None where that is no closed form
    "one-of-everything": (single(), 2, 30.0),
    "one-agent": (single(n=1), 1, 30.0),
    "1e9-agents": (single(n=10**9), 3, 30.0),
    "gamma-0": (single(gamma=0), 2, 3.0),
    "gamma-.999999": (single(gamma=0.999999), 2, 3e6),
    "negative-rewards": (single(-1.0, -2.0), 2, -30.0),
    "opposite-rewards": (single(-2.0, 2.0), 2, 0.0),
    "rewards-of-1e-300": (single(1e-300, 2e-300), 2, 3e-299),
    "rewards-of-1e300": (single(1e300, 2e300), 2, 3e301),
    "most-agents": (single(n=2**53), 3, 30.0),
    "rewards-of-both": (single(1e300, 1e-300), 2, 1e301),
    "smallest-reward": (single(5e-324, 0), 2, 5e-323),
    "one-state-many-actions": (
        am.Game(P_g=[[[1]] * 3], P_l=[[[[1]] * 2]], r_g=[[1, 5, 2]], r_l=[[[2, 7]]], gamma=0.9, n=3),
        2,
        120.0,
    ),
    "one-local-state": (drawn(num_sl=1), 2, None),
    "one-global-state": (drawn(num_sg=1), 2, None),
    "one-global-action": (drawn(num_ag=1), 2, None),
    "one-local-action": (drawn(num_al=1), 2, None),
    "one-agent-of-a-drawn-game": (drawn(n=1), 1, None),
    "everybody-is-seen": (drawn(n=4), 4, None),
    "1e9-agents-of-a-drawn-game": (drawn(n=10**9), 2, None),
    "drawn-gamma-0": (drawn(gamma=0.0), 2, None),
    "drawn-gamma-.999999": (drawn(gamma=0.999999), 2, None),
    "zero-rewards": (drawn().replace(**ZERO), 2, 0.0),
    "zero-rewards-gamma-.999999": (drawn(gamma=0.999999).replace(**ZERO), 2, 0.0),
    "drawn-negative-rewards": (drawn().replace(r_g=-np.ones((2, 2)), r_l=-np.ones((2, 2, 2))), 2, -20.0),
    "drawn-rewards-of-1e300": (drawn().replace(r_g=np.full((2, 2), 1e300), r_l=ZERO["r_l"]), 2, 1e301),
    "drawn-rewards-of-1e-300": (scaled(1e-300), 2, None),
    "reducible": (still(), 2, 2.0),
    "absorbing": (still(P_g=LAST[:, None]), 2, 2.5),  # 1 of s_g: (2 + gamma 2) / 2; 1 of the agents
    "agents-absorbed": (still(P_l=np.broadcast_to(LAST[:, None, None], (2, 2, 1, 2))), 2, 1.5),  # 1/2 once; 1 of s_g
    "periodic": (still(P_g=SWAP[:, None], P_l=SWAP_L), 2, 2.0),
    "periodic-gamma-.999999": (still(P_g=SWAP[:, None], P_l=SWAP_L, gamma=0.999999), 2, 1e6),
    "deterministic": (games.beacon(num_zones=2, arrival=1.0, gamma=0.8), 2, 9.5),
    "fixed-start": (still(initial=am.InitialLaw([0, 1], [1, 0])), 2, 4.0),
    "one-crowd-at-the-start": (still(initial=uniform(2, 2, 1e-200)), 2, 2.0),
    "lists-of-integers": (still(P_g=[[[1, 0]], [[0, 1]]]), 2, 2.0),
    "booleans": (still(P_g=np.eye(2, dtype=bool)[:, None]), 2, 2.0),
    "float32": (still(r_l=np.array([[[1], [1]], [[0], [0]]], np.float32)), 2, 2.0),
    "float16": (still(P_g=torch.eye(2, dtype=torch.float16)[:, None]), 2, 2.0),
    "a-gradient": (still(P_g=torch.eye(2, requires_grad=True)[:, None]), 2, 2.0),
}


def finite(*values):
    return all(math.isfinite(value) for value in values)


@pytest.mark.parametrize(("odd", "k", "worth"), ODD.values(), ids=ODD)
def test_an_odd_game_is_solved_rolled_out_and_certified(odd, k, worth):
    solution = am.solve(odd, k)
    assert finite(solution.value, solution.eta, solution.eta_paper, *(update.value for update in solution.history))
    played = am.rollout(odd, solution, episodes=4, horizon=3)
    assert finite(*played.returns.tolist(), played.mean, played.sem)
    found = am.certify(odd, solution)
    gaps = (found.global_deviation, found.shared_deviation, found.single_team, found.single_own)
    assert finite(found.value, found.value_error, *(end for gap in gaps for end in (gap.lower, gap.upper, gap.error)))
    assert found.nash_gap <= max(1e-6 * odd.v_max, 1e-10)  # nearer values are ties (`policies.greedy`)
    assert abs(found.value - solution.value) <= 1e-6 * odd.v_max
    if odd.n < 10:
        assert finite(*am.population_value(odd, solution).values.flatten().tolist())
    if worth is not None:
        assert solution.value == pytest.approx(worth, rel=1e-6, abs=1e-12 if worth == 0 else 0)


NEURAL = ["one-of-everything", "gamma-0", "one-local-state", "one-agent-of-a-drawn-game", "zero-rewards", "reducible"]


@pytest.mark.parametrize("name", NEURAL)
def test_an_odd_game_passes_through_networks(name):
    odd, k, _ = ODD[name]
    with cut_short():
        solution = am.solve(odd, k, solver="neural", steps=1)
    assert finite(solution.value, solution.eta, *(update.value for update in solution.history))
    assert finite(am.rollout(odd, solution, episodes=4, horizon=3).mean)
    assert abs(solution.value) <= odd.v_max * (1 + 1e-6)


def test_rewards_of_1e300_are_solved():
    solution = am.solve(scaled(1e300), 2)
    assert solution.value == pytest.approx(1e300 * am.solve(drawn(), 2).value, rel=1e-6)


def test_rewards_of_1e_300_are_too_small_for_networks():
    with cut_short(), pytest.raises(ArgumentError, match="express the rewards in a smaller unit"):
        am.solve(scaled(1e-300), 2, solver="neural")


@pytest.mark.parametrize("what", WRITERS)
def test_an_empty_path_is_the_file_systems_error(what):
    with pytest.raises(OSError, match="No such file"):
        WRITERS[what]("")
