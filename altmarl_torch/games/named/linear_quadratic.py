r"""A linear-quadratic game whose answers are known: n agents, one leader, squares to pay, and continuous actions.

With x_i the local states, y = s_g, u = a_g, v_i = a_l, and independent standard normals w,

    x_i' = a x_i + b v_i + c y + sigma w_i,      y' = alpha y + beta u + sigma_g w,
    r_l = -(q (x_i - y)^2 + r v_i^2),            r_g = -(q_y y^2 + rho u^2),
    start: theta ~ N(0, tau^2),  x_i ~ N(theta, s_0^2),  y = 0.

**The value of a linear pair**, v_i = -K x_i - L y and u = -f_m mhat - f_y y with mhat the mean of k fresh agents of n.
Write A = a - b K, C = c - b L, m for the mean of all x_i, D = (1/n) sum (x_i - m)^2, kappa = (n-k) / (k (n-1)). A fresh
sample misses m by an error of mean 0 and variance kappa D that is uncorrelated with (m, y) and with the errors of
other steps, so second moments are closed:

    D' = A^2 D + sigma^2 (1 - 1/n),
    S' = M S M' + diag(sigma^2 / n, sigma_g^2 + beta^2 f_m^2 kappa D),    M = [[A, C], [-beta f_m, alpha - beta f_y]],
    E reward = -tr(Q S) - (q + r K^2 + rho f_m^2 kappa) D,                S = E (m, y)'(m, y),
    Q = q [1,-1]'[1,-1] + r [K,L]'[K,L] + rho [f_m,f_y]'[f_m,f_y] + q_y diag(0, 1).

**G-LEARN on the surrogate** (n = k) is a discounted linear-quadratic regulator in (m, y): its gain does not depend on
k. **L-LEARN** against a leader that looks at nothing (f_m = 0) is one in (x_i, y), whatever n.

**Tracking** (`Tracking`): a = 1, nothing moves but y' = u at no cost, so the leader only has to estimate theta's
crowd, from k fresh agents a step. u = (1 - g) y + g mhat costs

    D(g) = (e_0 + gamma v g^2 / (1-gamma)) / (1 - gamma (1-g)^2),    v = kappa D,   e_0 = tau^2 + s_0^2 / n,

least at a g that falls with v; the surrogate's answer is g = 1, and with memory the Kalman filter's gains
1 / (t + 1 + v / e_0) cost sum_t gamma^t / (1/e_0 + t/v).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_are
from torch import Tensor

from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Box
from altmarl_torch.support.torch_state import door

__all__ = ["LinearGains", "LinearQuadratic", "Tracking", "linear_quadratic"]

Matrix = NDArray[np.float64]
ANYWHERE = Box(-math.inf, math.inf)


class LinearGains(NamedTuple):
    """A linear pair: v = -K x - L y, and u = -f_m mhat - f_y y."""

    K: float = 0.0
    L: float = 0.0
    f_m: float = 0.0
    f_y: float = 0.0


@dataclass(frozen=True)
class LinearQuadratic:
    """The constants of the game, and what follows from them. The defaults are those of the tests."""

    a: float = 0.95
    b: float = 0.5
    c: float = 0.0
    alpha: float = 0.9
    beta: float = 1.0
    sigma: float = 0.3
    sigma_g: float = 0.1
    q: float = 1.0
    r: float = 0.5
    q_y: float = 0.1
    rho: float = 0.2
    gamma: float = 0.95
    tau: float = 2.0
    s_0: float = 1.0

    def game(self, n: int = 1000) -> SimulatedGame:
        """The simulator."""
        return SimulatedGame(
            start=self._start,
            move_g=lambda s_g, a_g, g: self.alpha * s_g + self.beta * a_g + self.sigma_g * _normal(s_g, g),
            move_l=lambda s_l, s_g, a_l, g: self.a * s_l + self.b * a_l + self.c * s_g + self.sigma * _normal(s_l, g),
            r_g=lambda s_g, a_g: -(self.q_y * s_g.square() + self.rho * a_g.square()).squeeze(-1),
            r_l=lambda s_l, s_g, a_l: -(self.q * (s_l - s_g).square() + self.r * a_l.square()).squeeze(-1),
            global_state=ANYWHERE,
            local_state=ANYWHERE,
            global_action=ANYWHERE,
            local_action=ANYWHERE,
            gamma=self.gamma,
            n=n,
            name="linear_quadratic",
        )

    def _start(self, episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        theta = self.tau * torch.randn(episodes, 1, 1, generator=generator, dtype=torch.float32, device=device)
        return torch.zeros(episodes, 1, dtype=torch.float32, device=device), theta + self.s_0 * _normal(
            theta.expand(-1, n, -1), generator
        )

    def value(self, gains: LinearGains, n: int, k: int, horizon: int | None = None) -> float:
        """The discounted return of a linear pair on n agents with k fresh samples, exactly.

        Args:
            gains: the pair.
            n, k: agents, and how many of them the leader sees.
            horizon: steps; None for ever. (Then minus infinity, where the pair does not keep its states down.)
        """
        K, _, f_m, _ = gains
        A, M, Q = self.a - self.b * K, self._moves(gains), self._costs(gains)
        kappa = 0.0 if n == 1 else (n - k) / (k * (n - 1))
        rest = self.q + self.r * K**2 + self.rho * f_m**2 * kappa
        D, S = self.s_0**2 * (1 - 1 / n), np.diag([self.tau**2 + self.s_0**2 / n, 0.0])
        total, noise = 0.0, self.sigma**2 * (1 - 1 / n)
        radius = max(A**2, float(np.abs(np.linalg.eigvals(M)).max()) ** 2)
        if horizon is None and self.gamma * radius >= 1:
            return -math.inf
        steps = horizon or math.ceil(math.log(1e-17) / math.log(self.gamma * max(radius, 1.0)))
        for t in range(steps):
            total -= self.gamma**t * (float((Q * S).sum()) + rest * D)
            new = [self.sigma**2 / n, self.sigma_g**2 + (self.beta * f_m) ** 2 * kappa * D]
            D, S = A**2 * D + noise, M @ S @ M.T + np.diag(new)
        return total

    def _moves(self, gains: LinearGains) -> Matrix:
        K, L, f_m, f_y = gains
        first = [self.a - self.b * K, self.c - self.b * L]
        return np.array([first, [-self.beta * f_m, self.alpha - self.beta * f_y]])

    def _costs(self, gains: LinearGains) -> Matrix:
        K, L, f_m, f_y = gains
        apart, local, lead = np.array([[1.0, -1.0], [K, L], [f_m, f_y]])
        squares = self.q * np.outer(apart, apart) + self.r * np.outer(local, local) + self.rho * np.outer(lead, lead)
        return np.asarray(squares + np.diag([0.0, self.q_y]))

    def global_response(self, K: float, L: float) -> tuple[float, float]:
        """(f_m, f_y) of G-LEARN on the surrogate, the best of all policies there, for every k."""
        moves = np.array([[self.a - self.b * K, self.c - self.b * L], [0.0, self.alpha]])
        gain = _regulator(moves, np.array([[0.0], [self.beta]]), self._costs(LinearGains(K, L)), self.rho, self.gamma)
        return gain[0], gain[1]

    def local_response(self, f_y: float) -> tuple[float, float]:
        """(K, L) of L-LEARN against u = -f_y y, the best of all local policies, for every n."""
        moves = np.array([[self.a, self.c], [0.0, self.alpha - self.beta * f_y]])
        costs = self._costs(LinearGains(0.0, 0.0, 0.0, f_y))
        gain = _regulator(moves, np.array([[self.b], [0.0]]), costs, self.r, self.gamma)
        return gain[0], gain[1]


@dataclass(frozen=True)
class Tracking:
    """The leader follows the mean of agents that never move, seeing k fresh ones of n a step."""

    n: int = 1000
    k: int = 5
    gamma: float = 0.95
    tau: float = 2.0
    s_0: float = 1.0

    def game(self) -> SimulatedGame:
        """The simulator; the agents' actions do nothing."""
        still = LinearQuadratic(1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, self.gamma, self.tau, self.s_0)
        return still.game(self.n).replace(name="tracking")

    @property
    def _noise(self) -> tuple[float, float]:
        """v, the variance of the sample's mean, and e_0, that of the first error."""
        return self.s_0**2 / self.k * (1 - self.k / self.n), self.tau**2 + self.s_0**2 / self.n

    @property
    def spread(self) -> float:
        """What every leader pays for agents that are not all at their mean."""
        return self.s_0**2 * (1 - 1 / self.n) / (1 - self.gamma)

    def cost(self, g: float) -> float:
        """D(g): what u = (1 - g) y + g mhat pays, beside `spread`."""
        v, e_0 = self._noise
        return (e_0 + self.gamma * v * g**2 / (1 - self.gamma)) / (1 - self.gamma * (1 - g) ** 2)

    @property
    def best_gain(self) -> float:
        """The g of least cost."""
        (v, e_0), gamma = self._noise, self.gamma
        if v == 0:
            return 1.0
        both = (1 - gamma) * (v + e_0)
        return (math.sqrt(both**2 + 4 * gamma * v * (1 - gamma) * e_0) - both) / (2 * gamma * v)

    @property
    def kalman_cost(self) -> float:
        """What the best leader with memory pays, beside `spread`."""
        v, e_0 = self._noise
        if v == 0:
            return e_0
        steps = math.ceil(math.log(1e-17) / math.log(self.gamma))
        return sum(self.gamma**t / (1 / e_0 + t / v) for t in range(steps))


@door
def linear_quadratic(n: int = 1000, gamma: float = 0.95) -> SimulatedGame:
    """A leader and n followers with linear moves and quadratic costs, whose exact values are known.

    `LinearQuadratic(...)` has its constants and its answers.
    """
    return LinearQuadratic(gamma=gamma).game(n)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float32, device=like.device)


def _regulator(F: Matrix, B: Matrix, Q: Matrix, R: float, gamma: float) -> tuple[float, ...]:
    """The gain G of the discounted regulator: u = -G z is best for z' = F z + B u at the cost z'Qz + R u^2."""
    root = math.sqrt(gamma)
    P = solve_discrete_are(root * F, root * B, Q, np.array([[R]]))
    gain = np.linalg.solve(R + gamma * B.T @ P @ B, gamma * B.T @ P @ F)
    return tuple(float(number) for number in gain[0])
