"""The chains of Algorithms 8 and 9 as dictionaries, straight from the paper's text: states are tuples with every symbol
that is printed, laws are dictionaries, values are recursions. Slow, and free of the package's chains, simplex order and
induction. Beside them: episodes one by one, and evaluation with dense matrices, on an `EpisodicMDP`."""

import itertools
import math
import random
from bisect import bisect_right
from collections import Counter
from functools import cache

import numpy as np
import torch
from oracles.surrogate import count_vectors

import altmarl_torch as am
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.policies.rules import RULES, table

NOTHING = None  # the paper's bottom symbol


def by_mode(game, k):
    """The dispatcher of `docs/oracle-values.md`: to the mode of the sample."""
    return table(game, RULES["mode"](game), am.CountSimplex(k, game.num_sl))


def reader(game, pi_g, k):
    """What the oracles ask of pi_g: its law at (s_g, (s_1, .., s_k)), from a table over counts or over tuples."""
    tuples = list(itertools.product(range(game.num_sl), repeat=k))
    rows = {vector: row for row, vector in enumerate(count_vectors(k, game.num_sl))}
    if pi_g.shape[1] == len(tuples):
        place = {states: row for row, states in enumerate(tuples)}
    else:
        place = {states: rows[tuple(np.bincount(states, minlength=game.num_sl))] for states in tuples}
    laws = pi_g.tolist()
    return lambda s, states: laws[s][place[tuple(states)]]


def laws(rng, shape, kind):
    """Random laws: with full support, with zeros, or one-hot."""
    weights = rng.exponential(size=shape)
    if kind == "zeros":
        weights *= rng.random(shape) < 0.6
    if kind == "certain":
        weights *= weights == weights.max(-1, keepdims=True)
    weights[..., 0] += weights.sum(-1) == 0
    return weights / weights.sum(-1, keepdims=True)


def any_game(seed, sizes, kind="full", strength=math.inf):
    """A game of random tables with rewards of both signs, and a random initial law."""
    sg, sl, ag, al = sizes
    rng = np.random.default_rng(seed)
    return am.Game(
        P_g=laws(rng, (sg, ag, sg), kind),
        P_l=laws(rng, (sl, sg, al, sl), kind),
        r_g=rng.normal(size=(sg, ag)),
        r_l=rng.normal(size=(sl, sg, al)),
        gamma=0.7,
        n=9,
        initial=InitialLaw(laws(rng, (sg,), kind), laws(rng, (sl,), kind), strength),
    )


def any_pi_g(game, k, seed, kind="full", over="counts"):
    rows = len(count_vectors(k, game.num_sl)) if over == "counts" else game.num_sl**k
    return torch.from_numpy(laws(np.random.default_rng(seed), (game.num_sg, rows, game.num_ag), kind))


def any_pi_l(game, seed, kind="full"):
    return torch.from_numpy(laws(np.random.default_rng(seed), (game.num_sl, game.num_sg, game.num_al), kind))


def add(law, outcome, chance):
    """Put a chance into a law; what cannot happen is not in it."""
    if chance > 0:
        law[outcome] = law.get(outcome, 0.0) + chance


def macro_law(initial, k):
    """Law of (s_g, (s_1, .., s_k)): Polya's urn, in which every agent that is drawn adds one to its state's weight."""
    strength, mean, law = initial.strength, initial.local_mean.tolist(), {}
    for states in itertools.product(range(len(mean)), repeat=k):
        chance = 1.0
        for place, z in enumerate(states):
            before = states[:place].count(z)
            chance *= mean[z] if strength == math.inf else (strength * mean[z] + before) / (strength + place)
        for s, weight in enumerate(initial.sg.tolist()):
            add(law, (s, states), weight * chance)
    return law


class Chain:
    """What both algorithms share. `look(s_g, (s_1, .., s_k))` is the law of a_g, a list."""

    def __init__(self, game, look, k, objective):
        self.P_g, self.P_l = game.P_g.tolist(), game.P_l.tolist()
        self.r_g, self.r_l = game.r_g.tolist(), game.r_l.tolist()
        self.num_sg, self.num_sl, self.num_al, self.gamma = game.num_sg, game.num_sl, game.num_al, game.gamma
        self.look, self.k, self.objective = look, k, objective
        self.step = cache(self.step)

    def next_sg(self, s, states):
        """Law of the pending global state: a_g ~ pi_g, then P_g."""
        law = {}
        for action, chance in enumerate(self.look(s, states)):
            for following, p in enumerate(self.P_g[s][action]):
                add(law, following, chance * p)
        return law

    def reward(self, state, a):
        """The reward before discounting: the paper's without 1/n ("own"), or the surrogate's, spread ("team")."""
        z, s, number = self.actor(state)
        own = self.r_l[z][s][a]
        if self.objective == "own":
            return own if self.is_first(state) else 0.0
        share = number * own / self.k
        if self.is_first(state):
            share += sum(chance * self.r_g[s][action] for action, chance in enumerate(self.look(s, self.seen(state))))
        return share


class TupleChain(Chain):
    """Algorithm 8: (j, s_g, pending s_g, (s_1, .., s_k)), j from 1."""

    @property
    def num_stages(self):
        return self.k

    def start(self, macro):
        return {(1, s, NOTHING, states): chance for (s, states), chance in macro.items()}

    def is_first(self, state):
        return state[0] == 1

    def seen(self, state):
        return state[3]

    def actor(self, state):
        j, s, _, states = state
        return states[j - 1], s, 1

    def step(self, state, a):
        (j, s, pending, states), law = state, {}
        to_sg = self.next_sg(s, states) if pending is NOTHING else {pending: 1.0}
        for (t, p), (y, q) in itertools.product(to_sg.items(), enumerate(self.P_l[states[j - 1]][s][a])):
            moved = (*states[: j - 1], y, *states[j:])
            add(law, (j + 1, s, t, moved) if j < self.k else (1, t, NOTHING, moved), p * q)
        return law


class MeanFieldChain(Chain):
    """Algorithm 9: (j, s_g, pending s_g, s_l, pending s_l, F, scratch F), j from 0, counts of the k-1 companions."""

    @property
    def num_stages(self):
        return self.num_sl + 1

    def start(self, macro):
        law = {}
        for (s, states), chance in macro.items():
            counts = tuple(states[1:].count(z) for z in range(self.num_sl))
            add(law, (0, s, NOTHING, states[0], NOTHING, counts, (0,) * self.num_sl), chance)
        return law

    def is_first(self, state):
        return state[0] == 0

    def seen(self, state):
        return (state[3], *Counter(dict(enumerate(state[5]))).elements())

    def actor(self, state):
        j, s, _, z, _, counts, _ = state
        return (z, s, 1) if j == 0 else (j - 1, s, counts[j - 1])

    def step(self, state, a):
        j, s, t, z, y, counts, scratch = state
        law = {}
        if j == 0:
            moves = itertools.product(self.next_sg(s, self.seen(state)).items(), enumerate(self.P_l[z][s][a]))
            for (to_sg, p), (to_sl, q) in moves:
                add(law, (1, s, to_sg, z, to_sl, counts, scratch), p * q)
            return law
        for arrived, chance in self.move(scratch, counts[j - 1], tuple(self.P_l[j - 1][s][a])).items():
            last = (0, t, NOTHING, y, NOTHING, arrived, (0,) * self.num_sl)
            add(law, (j + 1, s, t, z, y, counts, arrived) if j < self.num_sl else last, chance)
        return law

    def move(self, scratch, number, law):
        """The scratch counts after `number` agents have moved, one by one."""
        reached = {scratch: 1.0}
        for _ in range(number):
            following = {}
            for (counts, chance), (y, p) in itertools.product(reached.items(), enumerate(law)):
                add(following, (*counts[:y], counts[y] + 1, *counts[y + 1 :]), chance * p)
            reached = following
        return reached


def reachable(chain, start):
    """Every state that can occur."""
    found, waiting = set(start), list(start)
    while waiting:
        state = waiting.pop()
        new = {following for a in range(chain.num_al) for following in chain.step(state, a)} - found
        found |= new
        waiting.extend(new)
    return found


def optimum(chain, start, rounds):
    """The optimal value from a law of first states."""
    return recursion(chain, start, rounds, lambda state, Q: max(Q))


def value(chain, start, rounds, pi_l):
    """The value of a local policy [sl, sg, al] that every agent, or bin, follows."""
    pi_l = pi_l.tolist()

    def follow(state, Q):
        z, s, _ = chain.actor(state)
        return sum(chance * worth for chance, worth in zip(pi_l[z][s], Q, strict=True))

    return recursion(chain, start, rounds, follow)


def recursion(chain, start, rounds, pick):
    @cache
    def worth(tau, state):
        if tau == rounds * chain.num_stages:
            return 0.0
        factor = chain.gamma ** (tau // chain.num_stages)
        return pick(state, [factor * chain.reward(state, a) + after(tau, state, a) for a in range(chain.num_al)])

    def after(tau, state, a):
        return sum(chance * worth(tau + 1, following) for following, chance in chain.step(state, a).items())

    return sum(chance * worth(0, state) for state, chance in start.items())


class OneByOne:
    """A simulator that plays episodes one after the other: told a policy and their number, it returns the visits.

    The law of the transitions is read when it is made, and so is not that of the MDP which is learned with it.
    """

    def __init__(self, mdp, seed=0):
        self.random, self.actions, self.steps, self.stages = (
            random.Random(seed),
            mdp.num_actions,
            mdp.steps,
            mdp.num_stages,
        )
        self.begins, self.successors = mdp.row_start.tolist(), mdp.successors.tolist()
        laws = mdp.probabilities.tolist()
        self.sums = [list(itertools.accumulate(laws[a:b])) for a, b in itertools.pairwise(self.begins)]
        self.first = list(itertools.accumulate(mdp.start_law.tolist()))

    def draw(self, sums):
        return bisect_right(sums, self.random.random() * sums[-1])

    def __call__(self, policy, episodes):
        policy, visits = policy.tolist(), [0] * len(self.successors)
        for _ in range(episodes):
            state = self.draw(self.first)
            for tau in range(self.steps):
                row = state * self.actions + policy[tau // self.stages][state]
                edge = self.begins[row] + self.draw(self.sums[row])
                visits[edge] += 1
                state = self.successors[edge]
        return torch.tensor(visits, dtype=torch.float64)


def dense(mdp):
    """P [s, a, s'] with zeros for all that cannot follow."""
    P = np.zeros((mdp.num_states * mdp.num_actions, mdp.num_states))
    for row, (begin, end) in enumerate(itertools.pairwise(mdp.row_start.tolist())):
        P[row, mdp.successors[begin:end].numpy()] = mdp.probabilities[begin:end].numpy()
    return P.reshape(mdp.num_states, mdp.num_actions, mdp.num_states)


def dense_value(mdp, law=None):
    """The value of laws [rounds, states, actions], or the optimal one: every state in every micro step."""
    P, r, V = dense(mdp), mdp.rewards.numpy(), np.zeros(mdp.num_states)
    for tau in reversed(range(mdp.steps)):
        t = tau // mdp.num_stages
        Q = float(mdp.discounts[t]) * r + P @ V
        V = Q.max(-1) if law is None else (np.asarray(law[t]) * Q).sum(-1)
    return float(mdp.start_law.numpy() @ V)


def dense_occupancy(mdp, law):
    """The law of the state in each micro step, [steps, states]."""
    P, reach, found = dense(mdp), mdp.start_law.numpy(), []
    for tau in range(mdp.steps):
        found.append(reach)
        reach = np.einsum("s,sa,sat->t", reach, np.asarray(law[tau // mdp.num_stages]), P)
    return np.array(found)
