"""The named games against their formulas, entry by entry, and the registry that finds them."""

import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altmarl_torch import games
from altmarl_torch.errors import ArgumentError, GameError, SizeError

# ------------------------------------------------------------------------------------------------- the warehouse


def softmax_entry(logits: list[float], index: int) -> float:
    return math.exp(logits[index]) / sum(math.exp(x) for x in logits)


@pytest.mark.parametrize(
    ("sg", "ag", "logits"),
    [
        (0, 0, [3.6, 0.1, 0.1, 0.1, 0.1]),
        (2, 4, [0.1, 0.1, 0.6, 0.1, 3.1]),
    ],
)
def test_warehouse_P_g_by_hand(sg: int, ag: int, logits: list[float]) -> None:
    for zone in range(5):
        assert float(games.warehouse().P_g[sg, ag, zone]) == pytest.approx(softmax_entry(logits, zone), abs=1e-15)


@pytest.mark.parametrize(
    ("sl", "sg", "al", "logits"),
    [
        (1, 1, 0, [0.1, 3.9, 0.1, 0.1, 0.1]),  # staying has no target: 3.5 and 0.3 alone
        (1, 3, 0, [0.1, 3.6, 0.1, 0.4, 0.1]),
        (4, 0, 1, [1.9, 0.1, 0.1, 0.1, 3.6]),  # up from 4 is 0, and 0 has the priority
        (0, 2, 2, [3.6, 0.1, 0.4, 0.1, 1.6]),  # down from 0 is 4
        (3, 3, 2, [0.1, 0.1, 1.6, 3.9, 0.1]),
    ],
)
def test_warehouse_P_l_by_hand(sl: int, sg: int, al: int, logits: list[float]) -> None:
    for zone in range(5):
        found = float(games.warehouse().P_l[sl, sg, al, zone])
        assert found == pytest.approx(softmax_entry(logits, zone), abs=1e-15)


@pytest.mark.parametrize(
    ("sl", "sg", "al", "reward"),
    [(2, 2, 0, 10.0), (2, 2, 1, 10.5), (2, 2, 2, 9.7), (0, 4, 0, 1.0), (0, 2, 1, 2 / 3 + 0.5), (4, 1, 2, 2 / 3 - 0.3)],
)
def test_warehouse_r_l_by_hand(sl: int, sg: int, al: int, reward: float) -> None:
    assert float(games.warehouse().r_l[sl, sg, al]) == pytest.approx(reward, abs=1e-15)


def test_warehouse_r_g_start_and_defaults() -> None:
    game = games.warehouse()
    assert game.r_g.tolist() == [[4.0 - abs(s - a) for a in range(5)] for s in range(5)]
    assert (game.gamma, game.n, game.name) == (0.95, 1000, "warehouse")
    assert (game.num_sg, game.num_sl, game.num_ag, game.num_al) == (5, 5, 5, 3)
    assert game.r_tilde == 14.5
    assert game.v_max == pytest.approx(290)
    assert game.initial.strength == 1.5
    assert game.initial.sg.tolist() == game.initial.local_mean.tolist() == [0.2] * 5


def test_warehouse_code_preset_changes_r_g_alone() -> None:
    paper, code = games.warehouse(), games.warehouse(preset="code")
    assert torch.equal(code.r_g, torch.ones(5, 5, dtype=torch.float64))
    assert all(torch.equal(getattr(code, name), getattr(paper, name)) for name in ("P_g", "P_l", "r_l"))
    assert code.name == "warehouse-code"


@pytest.mark.parametrize("S", [2, 3, 10, 20])
def test_more_zones_do_not_raise_the_leak(S: int) -> None:
    """With no bonus on the far zones their mass is 4 e^0.1, less those zones that are pointed at, at every S."""
    game, b = games.warehouse(num_zones=S), math.exp(0.1)
    far = 4 * b / (S - 1)
    weights = [far] * S
    weights[0] = math.exp(3.6)  # a_g = s_g = 0
    np.testing.assert_allclose(game.P_g[0, 0], np.array(weights) / sum(weights), atol=1e-15)
    weights = [far] * S
    weights[S - 1] = math.exp(1.6)  # down from 0, with the priority at 1
    weights[0] = math.exp(3.6)
    weights[1] = math.exp(1.9) if S == 2 else far * math.exp(0.3)
    np.testing.assert_allclose(game.P_l[0, 1, 2], np.array(weights) / sum(weights), atol=1e-15)
    assert float(game.r_g[0, S - 1]) == 0
    assert float(game.r_g[1, 0]) == pytest.approx(4 * (1 - 1 / (S - 1)), abs=1e-15)
    assert game.initial.strength == pytest.approx(0.3 * S)
    assert float(game.r_l[0, S // 2, 0]) == pytest.approx(2 / (1 + S // 2))


def test_two_zones_make_up_and_down_the_same_move() -> None:
    P_l = games.warehouse(num_zones=2).P_l
    assert torch.equal(P_l[:, :, 1], P_l[:, :, 2])


@pytest.mark.parametrize("num_zones", [1, 0, 2.0, True])
def test_warehouse_needs_two_zones(num_zones: int) -> None:
    with pytest.raises(ArgumentError, match="num_zones must be an integer at least 2, not "):
        games.warehouse(num_zones=num_zones)
    with pytest.raises(ArgumentError, match="num_zones must be"):
        games.ware(num_zones=num_zones)


def test_warehouse_knows_its_presets() -> None:
    with pytest.raises(ArgumentError, match="preset must be one of paper, code, not 'papr'"):
        games.warehouse(preset="papr")
    with pytest.raises(GameError, match="gamma"):
        games.warehouse(gamma=1.0)


# ------------------------------------------------------------------------------------------------------- the toys


def test_steer_by_hand() -> None:
    game = games.steer()
    assert torch.allclose(game.P_g, torch.tensor([[[0.9, 0.1], [0.2, 0.8]], [[0.8, 0.2], [0.1, 0.9]]]).double())
    for z, s in itertools.product(range(2), repeat=2):
        assert float(game.P_l[z, s, 0, z]) == pytest.approx(0.9)
        assert float(game.P_l[z, s, 1, 1 - z]) == pytest.approx(0.8)
        assert game.r_l[z, s].tolist() == pytest.approx([0.6 * (z == s) + 0.4, 0.6 * (z == s)])
    assert game.r_g.tolist() == [[0, 0], [1, 1]]
    assert (game.gamma, game.initial.strength, game.name) == (0.8, math.inf, "steer")


def test_ware_by_hand() -> None:
    game = games.ware(num_zones=4, num_al=3)
    logits = [5.1, 0.1, 0.4, 0.1]  # s_l = 0 stays: 3.5 + 1.5, priority at 2
    assert float(game.P_l[0, 2, 0, 0]) == pytest.approx(softmax_entry(logits, 0), abs=1e-15)
    assert float(game.P_g[1, 3, 3]) == pytest.approx(softmax_entry([0.1, 0.6, 0.1, 3.1], 3), abs=1e-15)
    assert float(game.r_g[0, 2]) == pytest.approx(1 / 13.5)
    assert float(game.r_l[3, 3, 1]) == pytest.approx(10.5 / 13.5)
    assert games.ware(num_al=1).num_al == 1
    with pytest.raises(ArgumentError, match=r"num_al must be an integer in 1\.\.3, not 4"):
        games.ware(num_al=4)


def test_hash_by_hand() -> None:
    game = games.hash_game(2, 3, 2, 2)
    # s = 1, a = 1: t = 0 gives 12 mod 9 = 3, t = 1 gives 21 mod 9 = 3
    assert game.P_g[1, 1].tolist() == [0.5, 0.5]
    # z = 2, s = 1, a = 1: y = 0 gives 20 mod 11 = 9, y = 1 gives 41 mod 11 = 8, y = 2 gives 62 mod 11 = 7
    np.testing.assert_allclose(game.P_l[2, 1, 1], np.array([82, 65, 50]) / 197, atol=1e-16)
    assert float(game.r_g[1, 1]) == 6 % 5 / 4
    assert float(game.r_l[2, 1, 1]) == 15 % 7 / 6
    assert (game.num_sg, game.num_sl, game.num_ag, game.num_al) == (2, 3, 2, 2)
    with pytest.raises(ArgumentError, match="num_ag must be"):
        games.hash_game(num_ag=0)


# ------------------------------------------------------------------------------------------------- random games


@given(seed=st.integers(0, 2**63 - 1), sizes=st.tuples(*[st.integers(1, 5)] * 4), laziness=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_random_games_are_games(seed: int, sizes: tuple[int, int, int, int], laziness: float) -> None:
    game = games.random_game(*sizes, seed=seed, laziness=laziness)
    assert (game.num_sg, game.num_sl, game.num_ag, game.num_al) == sizes
    stays = game.P_l.diagonal(dim1=0, dim2=3)
    assert bool((stays >= laziness - 1e-15).all())
    assert bool((game.r_g >= 0).all())
    assert game.r_tilde <= 2


def test_random_games_follow_their_seed_and_disturb_nothing() -> None:
    before = torch.random.get_rng_state()
    first, same, other = (games.random_game(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.P_l, same.P_l)
    assert not torch.equal(first.P_l, other.P_l)


def test_laziness_mixes_with_the_identity() -> None:
    free, lazy, frozen = (games.random_game(seed=3, laziness=x) for x in (0.0, 0.25, 1.0))
    stay = torch.eye(3, dtype=torch.float64)[:, None, None].expand_as(free.P_l)
    torch.testing.assert_close(lazy.P_l, 0.75 * free.P_l + 0.25 * stay, atol=1e-15, rtol=0)
    assert torch.equal(frozen.P_l, stay)
    assert torch.equal(free.r_l, lazy.r_l)


def test_random_rows_are_uniform_on_the_simplex() -> None:
    """Dirichlet(1, 1, 1): each entry has mean 1/3 and variance 1/18."""
    rows = games.random_game(num_sg=3, num_ag=20_000, num_sl=1, num_al=1).P_g.reshape(-1, 3)
    torch.testing.assert_close(rows.mean(0), torch.full((3,), 1 / 3).double(), atol=0.005, rtol=0)
    torch.testing.assert_close(rows.var(0), torch.full((3,), 1 / 18).double(), atol=0.002, rtol=0)


@pytest.mark.parametrize("changes", [{"laziness": -0.1}, {"laziness": math.nan}, {"seed": -1}, {"num_sl": 0}])
def test_random_games_refuse(changes: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(changes))):
        games.random_game(**changes)


# --------------------------------------------------------------------------------------------------- the registry


def test_every_named_game_can_be_made_and_described() -> None:
    there = "warehouse steer ware hash beacon random smart_grid two_speed_warehouse federated"
    assert games.names() == there.split()
    assert games.crowded() == ["ambulances"]
    assert list(games.describe()) == games.names() + games.crowded() + games.simulators()
    assert games.simulators() == ["continuous_warehouse", "linear_quadratic", "simulated_ambulances", "thermostats"]
    for name, line in games.describe().items():
        assert games.make(name).name == name
        assert line.endswith(".")
        assert "\n" not in line


def test_make_passes_arguments_on() -> None:
    assert games.make("warehouse", num_zones=7, preset="code").num_sl == 7
    assert torch.equal(games.make("hash", num_sg=3).P_l, games.hash_game(num_sg=3).P_l)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("warehose", {}, "no game is named 'warehose'; the names are warehouse, steer, .*; did you mean 'warehouse'"),
        ("zzz", {}, "no game is named 'zzz'; the names are [a-z_, ]*$"),
        ("steer", {"zones": 3, "n": 5}, "game 'steer' takes gamma, n; not zones$"),
    ],
)
def test_make_refuses(name: str, kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        games.make(name, **kwargs)


def test_functions_are_attributes_whatever_modules_are_imported() -> None:
    importlib.import_module("altmarl_torch.games.named.warehouse")
    assert callable(games.warehouse)
    assert all(callable(getattr(games, name)) for name in games.__all__)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("warehouse", {"num_zones": 10**6}),
        ("ware", {"num_zones": 10**6}),
        ("beacon", {"num_zones": 10**6}),
        ("hash", {"num_sg": 10**6}),
        ("random", {"num_sl": 10**6}),
    ],
)
def test_games_too_large_to_tabulate_are_refused(name, arguments):
    with pytest.raises(SizeError, match=r"at most 33,554,432 are tabulated"):
        games.make(name, **arguments)


def test_beacon_reads_its_gamma():
    with pytest.raises(GameError, match=r"gamma must be a number in \[0, 1\), not 'a'"):
        games.make("beacon", gamma="a")
