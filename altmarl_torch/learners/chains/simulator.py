r"""The chains of Algorithms 8 and 9 as simulators, for sizes that cannot be listed.

A batch of episodes goes through the micro steps together. What is kept of each is what `chain_forms` says of a state,
but as it is and not as a number in a list: s_g, the pending s_g, and either the k replicas or the tagged agent with the
counts of its companions, of those that have yet to move and of those that have arrived. Companions are dealt by
multinomial draws, so that an episode of Algorithm 9 costs the same for any k.

    simulator = ChainSimulator(game, pi_g, k, form="mean-field", objective="team", horizon=40, episodes=1000, seed=0)
    while not simulator.done:
        rewards += simulator.step(actions(simulator.stage, simulator.sg, simulator.acting))

What is left of the paper's surrogate's size is pi_g alone, a table over counts.
"""

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.counts.tuples import tuples_to_counts
from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.learners.chains.chain import chain_form, read_episode
from altmarl_torch.learners.chains.forms import NOTHING_PENDING, TupleForm
from altmarl_torch.learners.chains.policies import pi_g_on_counts, pi_g_on_tuples
from altmarl_torch.learners.settings import Form
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.policies.tabular import check_pi_l
from altmarl_torch.support.sampling import deal, split_shares
from altmarl_torch.support.tables import as_integer, as_seed, as_table

__all__ = ["ChainSimulator"]

LARGEST_BATCH = 10**8


class ChainSimulator:
    """A batch of episodes of the chain that `chained_mdp` would list; see there for the arguments.

    Attributes:
        stage: the stage pointer j, the same in all episodes.
        round: the macro step t.
        sg: `[episodes]` int64, the current global state.
        pending: `[episodes]` int64, the next one once it is drawn, `NOTHING_PENDING` before.
        acting: `[episodes]` int64, the local state of whoever acts.
        done: whether the horizon is reached.
    """

    def __init__(
        self,
        game: Game,
        pi_g: Tensor,
        k: int,
        form: Form = "paper",
        objective: Objective = "team",
        horizon: int | None = None,
        *,
        episodes: int = 1,
        seed: int = 0,
        initial: InitialLaw | None = None,
    ) -> None:
        self.rounds, initial = read_episode(game, k, objective, horizon, initial)
        self.game, self.k, self.simplex = game, k, CountSimplex(k, game.num_sl, game.device)
        self.objective, self.is_tuple = objective, chain_form(game, k, form) is TupleForm
        self.num_stages = k if self.is_tuple else game.num_sl + 1
        self._generator = torch.Generator(game.device).manual_seed(as_seed(seed))
        pi_g = as_table("pi_g", pi_g, "sg h ag", PolicyError)
        self._by_order = self.is_tuple and pi_g.shape[1] == game.num_sl**k
        pi_g = (pi_g_on_tuples if self._by_order else pi_g_on_counts)(game, pi_g, k)
        self._dispatch, self._earn = cumulative(pi_g @ game.P_g), (pi_g * game.r_g[:, None]).sum(-1)
        self._move, self._shares = cumulative(game.P_l), split_shares(game.P_l)
        self._begin(initial, as_integer("episodes", episodes, 1, LARGEST_BATCH, ArgumentError))

    def _begin(self, initial: InitialLaw, episodes: int) -> None:
        """Draw the first macro states."""
        self.stage = self.round = 0
        self.sg = initial.sample_sg(episodes, self._generator)
        self.pending = torch.full_like(self.sg, NOTHING_PENDING)
        mu = cumulative(initial.sample_mu(episodes, self._generator))
        agents = draw(mu.unsqueeze(1).expand(-1, self.k, -1), self._generator)  # [episodes, k]
        if self.is_tuple:
            self.replicas = agents
        else:
            self.tagged, self.waiting = agents[:, 0], tuples_to_counts(agents[:, 1:], self.game.num_sl)
            self.arrived = torch.zeros_like(self.waiting)

    @property
    def done(self) -> bool:
        """Whether the episodes are over."""
        return self.round == self.rounds

    @property
    def acting(self) -> Tensor:
        """The local state of whoever acts, `[episodes]`."""
        if self.is_tuple:
            return self.replicas[:, self.stage].clone()
        return self.tagged if self.stage == 0 else torch.full_like(self.tagged, self.stage - 1)

    def step(self, actions: Tensor) -> Tensor:
        """Let whoever acts play `actions [episodes]` (int64); returns the discounted rewards `[episodes]`.

        Raises:
            ArgumentError: the episodes are over, or there is no such action.
        """
        if self.done:
            raise ArgumentError(f"the episodes are over after {self.rounds} macro steps")
        whole = actions.dtype in (torch.int64, torch.int32) and actions.shape == self.sg.shape
        if not whole or int(actions.min()) < 0 or int(actions.max()) >= self.game.num_al:
            raise ArgumentError(f"actions must be [{len(self.sg)}] integers in 0..{self.game.num_al - 1}")
        reward = self._reward(actions)
        if self.stage == 0:
            self.pending = draw(self._dispatch[self.sg, self._seen()], self._generator)
        self._act(actions)
        self.stage += 1
        if self.stage == self.num_stages:
            self._commit()
        return reward

    def returns(self, pi_l: Tensor) -> Tensor:
        """The discounted return of each episode, `[episodes]`, when everybody plays `pi_l [sl, sg, al]` to the end."""
        sums = cumulative(check_pi_l(self.game, pi_l))
        total = torch.zeros(len(self.sg), dtype=torch.float64, device=self.sg.device)
        while not self.done:
            total += self.step(draw(sums[self.acting, self.sg], self._generator))
        return total

    def _seen(self) -> Tensor:
        """Rank of the counts that pi_g sees, in stage 0; or of the tuple, where their order matters to it."""
        if self._by_order:
            places = self.game.num_sl ** torch.arange(self.k - 1, -1, -1, device=self.sg.device)
            return (self.replicas * places).sum(-1)
        if self.is_tuple:
            counts = tuples_to_counts(self.replicas, self.game.num_sl)
        else:
            counts = self.waiting + torch.nn.functional.one_hot(self.tagged, self.game.num_sl)
        ranks: Tensor = self.simplex.rank(counts)
        return ranks

    def _reward(self, actions: Tensor) -> Tensor:
        """gamma^t R(s, a), as `chained` defines it."""
        factor = self.game.gamma**self.round
        own = factor * self.game.r_l[self.acting, self.sg, actions]
        if self.objective == "own":
            return own if self.stage == 0 else torch.zeros_like(own)
        if self.stage > 0:
            return own / self.k if self.is_tuple else own * self.waiting[:, self.stage - 1] / self.k
        return own / self.k + factor * self._earn[self.sg, self._seen()]

    def _act(self, actions: Tensor) -> None:
        """Move whoever acts."""
        if self.is_tuple or self.stage == 0:
            moved = draw(self._move[self.acting, self.sg, actions], self._generator)
            if self.is_tuple:
                self.replicas[:, self.stage] = moved
            else:
                self.pending_tagged = moved
            return
        bin = self.stage - 1
        shares = self._shares[bin, self.sg, actions]
        self.arrived += deal(self.waiting[:, bin].double(), shares, self._generator).long()
        self.waiting[:, bin] = 0

    def _commit(self) -> None:
        """End the macro step: what is pending becomes current."""
        self.stage, self.round = 0, self.round + 1
        self.sg, self.pending = self.pending, torch.full_like(self.pending, NOTHING_PENDING)
        if not self.is_tuple:
            self.tagged, self.waiting = self.pending_tagged, self.arrived
            self.arrived = torch.zeros_like(self.waiting)
