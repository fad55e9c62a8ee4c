"""The game's door: what it accepts, what it refuses, and in which words."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altmarl_torch.errors import AltMarlError, ArgumentError, GameError, PolicyError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.named.random import random_game

TABLES = ("P_g", "P_l", "r_g", "r_l")


def parts(**changes: Any) -> dict[str, Any]:
    """Tables with four different sizes (sg 2, ag 3, sl 4, al 5), so that no two axes can be mistaken for each other."""
    game = random_game(num_sg=2, num_ag=3, num_sl=4, num_al=5, seed=7)
    tables = {name: getattr(game, name).clone() for name in TABLES}
    return tables | {"gamma": 0.9, "n": 10} | changes


def with_entry(name: str, index: tuple[int, ...], value: float) -> dict[str, Any]:
    """The same with one entry, or one whole row where the index is shorter, overwritten."""
    tables = parts()
    tables[name][index] = value
    return tables


def assert_same(a: Game, b: Game) -> None:
    for name in TABLES:
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.initial.sg, b.initial.sg)
    assert torch.equal(a.initial.local_mean, b.initial.local_mean)
    assert (a.gamma, a.n, a.name, a.initial.strength) == (b.gamma, b.n, b.name, b.initial.strength)


# ---------------------------------------------------------------------------------------------- what is accepted


def test_sizes_bounds_and_defaults() -> None:
    game = Game(**parts(r_g=-np.arange(6.0).reshape(2, 3), r_l=np.full((4, 2, 5), 2.5)))
    assert (game.num_sg, game.num_ag, game.num_sl, game.num_al) == (2, 3, 4, 5)
    assert (game.r_g_max, game.r_l_max, game.r_tilde) == (5.0, 2.5, 7.5)
    assert game.v_max == pytest.approx(75)
    assert game.initial.sg.tolist() == [0.5, 0.5]
    assert game.initial.local_mean.tolist() == [0.25] * 4
    assert game.initial.strength == math.inf
    assert game.device == torch.device("cpu")
    assert repr(game) == "Game('game': 2 x 4 states, 3 x 5 actions (global x local), gamma=0.9, n=10)"


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: x.float(),
        lambda x: x.numpy().astype(np.float32)[::-1][::-1],
        lambda x: list(x),
        lambda x: x.clone().requires_grad_(),
    ],
    ids=["list", "array", "float32", "view", "list of tensors", "gradient"],
)
def test_any_array_becomes_float64(form: Any) -> None:
    plain = parts()
    game = Game(**{name: form(value) if name in TABLES else value for name, value in plain.items()})
    for name in TABLES:
        table = getattr(game, name)
        assert table.dtype == torch.float64
        assert not table.requires_grad
        torch.testing.assert_close(table, plain[name], atol=1e-7, rtol=0)


def test_integers_and_booleans_are_numbers() -> None:
    game = Game(P_g=[[[1]]], P_l=[[[[True]]]], r_g=[[3]], r_l=np.array([[[2]]], np.uint8), gamma=0, n=np.int64(1))
    assert (game.r_tilde, game.gamma, game.n) == (5.0, 0.0, 1)
    assert type(game.n) is int
    assert type(game.gamma) is float


def test_tables_are_copies() -> None:
    tables = parts()
    game = Game(**tables)
    tables["r_g"][0, 0] = 99.0
    assert game.r_g_max < 2


def test_a_game_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Game(**parts()).n = 3  # type: ignore[misc]


def test_small_drift_is_divided_out_and_nothing_else_is_touched() -> None:
    P_g = torch.tensor([[[0.3, 0.7 + 5e-7]], [[0.25, 0.75]]], dtype=torch.float64)
    game = Game(P_g=P_g, P_l=[[[[1.0]], [[1.0]]]], r_g=[[0], [0]], r_l=[[[0], [0]]], gamma=0.5, n=1)
    assert float(game.P_g[0, 0].sum()) == pytest.approx(1, abs=2e-16)
    assert float(game.P_g[0, 0, 0]) == pytest.approx(0.3 / (1 + 5e-7), abs=1e-16)
    assert game.P_g[1].tolist() == [[0.25, 0.75]]


@given(seed=st.integers(0, 10**6), size=st.integers(1, 30), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40, deadline=None)
def test_renormalising_twice_is_renormalising_once(seed: int, size: int, dtype: torch.dtype) -> None:
    game = random_game(num_sg=size, num_ag=2, num_sl=2, seed=seed)
    once = game.replace(P_g=game.P_g.to(dtype))
    assert torch.equal(once.replace(n=3).P_g, once.P_g)


# ---------------------------------------------------------------------------------------------- what is refused

ROW = r"each row is a law over sl' and must sum to 1 \(within 1e-05\)"

REFUSED: list[tuple[dict[str, Any], str]] = [
    # laws, entry by entry
    (with_entry("P_l", (2, 0, 1), 0.0), rf"^P_l\[sl=2, sg=0, al=1\] sums to 0; {ROW}$"),
    (parts(P_l=parts()["P_l"] * 0.9), rf"^P_l\[sl=0, sg=0, al=0\] sums to 0\.9 \(and 39 more like it\); {ROW}$"),
    (
        with_entry("P_l", (3, 1, 4, 2), -0.1),
        r"^P_l\[sl=3, sg=1, al=4, sl'=2\] is -0\.1; probabilities are non-negative$",
    ),
    (with_entry("P_g", (1, 2, 0), -1e-8), r"^P_g\[sg=1, ag=2, sg'=0\] is -1e-08; probabilities are non-negative$"),
    (with_entry("P_g", (1, 2, 0), math.nan), r"^P_g\[sg=1, ag=2, sg'=0\] is nan; every entry must be a finite number$"),
    (with_entry("r_g", (0, 2), math.inf), r"^r_g\[sg=0, ag=2\] is inf; every entry must be a finite number$"),
    (with_entry("r_l", (3, 0, 1), -math.inf), r"^r_l\[sl=3, sg=0, al=1\] is -inf; every entry"),
    # shapes
    (parts(r_g=[1.0, 2.0]), r"^r_g has shape \[2\], that is 1 axes; expected 2: \[sg, ag\]$"),
    (parts(P_l=0.5), r"^P_l has shape \[\], that is 0 axes; expected 4: \[sl, sg, al, sl'\]$"),
    (parts(r_l=torch.zeros(4, 2, 0)), r"^r_l has shape \[4, 2, 0\]: axis al is empty; every set needs one element$"),
    (
        parts(P_g=torch.ones(2, 3, 4) / 4),
        r"^axis sg' of P_g \[sg=2, ag=3, sg'=4\] has 4 entries, but axis sg of P_g \[sg=2, ag=3, sg'=4\] has 2$",
    ),
    (
        parts(P_l=torch.ones(4, 3, 5, 4) / 4),
        r"^axis sg of P_l \[sl=4, sg=3, al=5, sl'=4\] has 3 entries, but axis sg of P_g \[sg=2, ag=3, sg'=2\] has 2$",
    ),
    (parts(P_l=torch.ones(4, 2, 5, 3) / 3), r"^axis sl' of P_l .* has 3 entries, but axis sl of P_l .* has 4$"),
    (parts(r_g=torch.zeros(3, 2)), r"^axis sg of r_g \[sg=3, ag=2\] has 3 entries, but axis sg of P_g .* has 2$"),
    (parts(r_g=torch.zeros(2, 4)), "^axis ag of r_g .* has 4 entries, but axis ag of P_g .* has 3$"),
    (parts(r_l=torch.zeros(2, 4, 5)), "^axis sl of r_l .* has 2 entries, but axis sl of P_l .* has 4$"),
    (parts(r_l=torch.zeros(4, 2, 3)), "^axis al of r_l .* has 3 entries, but axis al of P_l .* has 5$"),
    # things that are no tables
    (parts(r_g=[[1.0], [1.0, 2.0]]), "^r_g is not an array of numbers: "),
    (parts(r_g=[["a", "b"]]), "^r_g holds <U1; expected an array of real numbers$"),
    (parts(r_g=None), "^r_g holds object; expected an array of real numbers$"),
    (parts(r_g=torch.zeros(2, 3, dtype=torch.complex64)), "^r_g holds torch.complex64; expected real numbers$"),
    (parts(r_g=torch.zeros(2, 3, device="meta")), "^P_g lies on cpu, but r_g on meta; move all tables to one device$"),
    # the initial law
    (parts(initial=InitialLaw.uniform(3, 4)), "^initial.sg has 3 entries, but P_g has 2 states$"),
    (parts(initial=InitialLaw.uniform(2, 2)), "^initial.local_mean has 2 entries, but P_l has 4 states$"),
    (parts(initial=[0.5, 0.5]), "^initial must be an InitialLaw or None, not list$"),
    # scalars
    *(
        (parts(gamma=x), r"^gamma must be a number in \[0, 1\), not ")
        for x in (1, 1.0, -0.1, 2, math.nan, "0.9", True, None)
    ),
    *((parts(n=x), r"^n must be an integer in 1\.\.9007199254740992, not ") for x in (0, -3, 2.0, "5", True, 2**60)),
    (parts(gamma=10**400), r"^gamma must be a number in \[0, 1\), not 1000"),
    (parts(r_g=torch.zeros(2, 3).to_sparse()), r"^r_g has the layout torch.sparse_coo; expected a dense tensor"),
    (
        parts(r_g=torch.tensor([[0.0, 0.0, 0.0], [0.0, -1.7e308, 0.0]], dtype=torch.float64), gamma=0.9),
        r"^r_g\[sg=1, ag=1\] is -1.7e\+308; rewards must be so small that V_max",
    ),
    *((parts(name=x), "^name must be a non-empty, printable string, not ") for x in ("", "a\nb", 3, None)),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[message[1:40] for _, message in REFUSED])
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GameError, match=message) as caught:
        Game(**arguments)
    assert isinstance(caught.value, AltMarlError)
    assert isinstance(caught.value, ValueError)


# ------------------------------------------------------------------------------------------------ induced tables


def random_law(*shape: int, seed: int = 0) -> torch.Tensor:
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    return weights / weights.sum(-1, keepdim=True)


@given(seed=st.integers(0, 10**6), sizes=st.tuples(*[st.integers(1, 3)] * 3))
@settings(max_examples=30, deadline=None)
def test_induced_tables_are_equations_5_and_6(seed: int, sizes: tuple[int, int, int]) -> None:
    sg, sl, al = sizes
    game, pi_l = random_game(sg, sl, 2, al, seed=seed), random_law(sl, sg, al, seed=seed)
    P_l_pi, r_l_pi = game.induced(pi_l)
    for z, s in itertools.product(range(sl), range(sg)):
        reward = sum(float(pi_l[z, s, a] * game.r_l[z, s, a]) for a in range(al))
        assert float(r_l_pi[z, s]) == pytest.approx(reward, abs=1e-15)
        for y in range(sl):
            move = sum(float(pi_l[z, s, a] * game.P_l[z, s, a, y]) for a in range(al))
            assert float(P_l_pi[z, s, y]) == pytest.approx(move, abs=1e-15)


def test_a_deterministic_policy_picks_entries_exactly() -> None:
    game = Game(**parts())
    action = torch.tensor([[0, 4], [3, 1], [2, 2], [1, 0]])
    induced = game.induced(torch.nn.functional.one_hot(action, 5).tolist())
    z, s = torch.meshgrid(torch.arange(4), torch.arange(2), indexing="ij")
    assert torch.equal(induced.P_l_pi, game.P_l[z, s, action])
    assert torch.equal(induced.r_l_pi, game.r_l[z, s, action])


@pytest.mark.parametrize(
    ("pi_l", "message"),
    [
        (torch.ones(4, 2, 5), r"^pi_l\[sl=0, sg=0\] sums to 5 .*; each row is a law over al and must sum to 1"),
        (
            torch.ones(2, 4, 5) / 5,
            r"^pi_l has shape \[2, 4, 5\] on cpu; this game needs \[sl, sg, al\] = \[4, 2, 5\] on cpu$",
        ),
        (torch.ones(4, 2) / 2, r"^pi_l has shape \[4, 2\], that is 2 axes; expected 3: \[sl, sg, al\]$"),
        (torch.ones(4, 2, 5, device="meta"), "^pi_l has shape .* on meta; this game needs .* on cpu$"),
        (torch.full((4, 2, 5), math.nan), r"^pi_l\[sl=0, sg=0, al=0\] is nan"),
        (torch.tensor([2.0, -1, 0, 0, 0]).expand(4, 2, 5), r"^pi_l\[sl=0, sg=0, al=1\] is -1"),
    ],
)
def test_induced_refuses_what_is_no_policy(pi_l: torch.Tensor, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Game(**parts()).induced(pi_l)


# ------------------------------------------------------------------------------------- sample sizes and variations


@pytest.mark.parametrize("k", [1, 10, np.int32(4)])
def test_check_k_accepts(k: Any) -> None:
    assert Game(**parts()).check_k(k) == int(k)
    assert type(Game(**parts()).check_k(k)) is int


@pytest.mark.parametrize("k", [0, 11, -1, 2.0, True, "3", None])
def test_check_k_refuses(k: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^k must be an integer in 1\.\.10, not "):
        Game(**parts()).check_k(k)


def test_replace_checks_anew_and_leaves_the_original() -> None:
    game = Game(**parts())
    other = game.replace(n=10**9, gamma=0.5, name="large", initial=InitialLaw([1, 0], [1, 0, 0, 0], 2.0))
    assert (other.n, other.gamma, other.name, other.initial.strength) == (10**9, 0.5, "large", 2.0)
    assert (game.n, game.gamma, game.name) == (10, 0.9, "game")
    assert torch.equal(other.P_l, game.P_l)
    with pytest.raises(GameError, match=r"^gamma"):
        game.replace(gamma=1)


def test_to_keeps_everything() -> None:
    game = Game(**parts(initial=InitialLaw([1, 0], [0.5, 0.5, 0, 0], 0.3), name="here"))
    assert_same(game.to("cpu"), game)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_game_on_the_gpu() -> None:
    game = Game(**parts(initial=InitialLaw([1, 0], [0.5, 0.5, 0, 0], 0.3))).to("cuda")
    assert {getattr(game, name).device.type for name in TABLES} | {game.initial.device.type} == {"cuda"}
    assert game.induced(torch.full((4, 2, 5), 0.2, device="cuda")).P_l_pi.device.type == "cuda"
    mu = game.initial.sample_mu(7, torch.Generator("cuda").manual_seed(0))
    torch.testing.assert_close(mu.sum(-1).cpu(), torch.ones(7, dtype=torch.float64))
    assert float(game.initial.count_law(torch.eye(4, dtype=torch.int64, device="cuda")).sum()) == pytest.approx(1)
    with pytest.raises(GameError, match=r"^P_g lies on cuda:0, but P_l on cpu"):
        game.replace(P_l=game.P_l.cpu())
    assert_same(game.to("cpu"), game.replace(**{name: getattr(game, name).cpu() for name in TABLES}))


# -------------------------------------------------------------------------------------------------- from functions

FUNCTIONS: dict[str, Any] = {
    "P_g": lambda sg, ag: [0.25, 0.75] if sg == ag else [1, 0],
    "P_l": lambda sl, sg, al: np.eye(3)[(sl + sg + al) % 3],
    "r_g": lambda sg, ag: sg + 10 * ag,
    "r_l": lambda sl, sg, al: torch.tensor(sl + 10.0 * sg + 100 * al),
}
SIZES = {"num_sg": 2, "num_sl": 3, "num_ag": 4, "num_al": 2, "gamma": 0.5, "n": 6}


def test_from_functions_tabulates() -> None:
    game = Game.from_functions(**FUNCTIONS, **SIZES, name="mine")
    assert game.P_g.shape == (2, 4, 2)
    assert game.P_g[1, 1].tolist() == [0.25, 0.75]
    assert game.P_g[1, 3].tolist() == [1, 0]
    assert game.P_l[2, 1, 0].tolist() == [1, 0, 0]
    assert float(game.r_g[1, 3]) == 31
    assert float(game.r_l[2, 1, 1]) == 112
    assert (game.n, game.gamma, game.name, game.initial.strength) == (6, 0.5, "mine", math.inf)


def test_from_functions_passes_the_initial_law_on() -> None:
    initial = InitialLaw([1, 0], [0, 0, 1], 0.5)
    assert_same(
        Game.from_functions(**FUNCTIONS, **SIZES, initial=initial),
        Game.from_functions(**FUNCTIONS, **SIZES).replace(initial=initial),
    )


def test_from_functions_reports_the_arguments_and_keeps_the_cause() -> None:
    def broken(sl: int, sg: int, al: int) -> list[float]:
        return {0: [1.0, 0, 0], 1: [0, 1.0, 0]}[sl]

    with pytest.raises(GameError, match=r"^P_l\(sl=2, sg=0, al=0\) raised KeyError: 2$") as caught:
        Game.from_functions(**FUNCTIONS | {"P_l": broken}, **SIZES)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"P_g": lambda sg, ag: [1, 0, 0] if ag == 2 else [1, 0]},
            r"^P_g\(sg=0, ag=2\) returned an array of shape \[3\]; expected a law of 2 numbers$",
        ),
        (
            {"P_l": lambda sl, sg, al: 1.0},
            r"^P_l\(sl=0, sg=0, al=0\) returned an array of shape \[\]; expected a law of 3",
        ),
        ({"r_g": lambda sg, ag: [1.0]}, r"^r_g\(sg=0, ag=0\) returned an array of shape \[1\]; expected one number$"),
        ({"r_l": lambda sl, sg, al: None}, r"^r_l\(sl=0, sg=0, al=0\) holds object; expected"),
        ({"P_g": lambda sg, ag: [0.5, 0.4]}, r"^P_g\[sg=0, ag=0\] sums to 0\.9"),
        ({"num_sg": 0}, "^num_sg must be an integer at least 1, not 0$"),
        ({"num_al": 2.5}, r"^num_al must be an integer .* not 2\.5$"),
    ],
)
def test_from_functions_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GameError, match=message):
        Game.from_functions(**FUNCTIONS | SIZES | changes)
