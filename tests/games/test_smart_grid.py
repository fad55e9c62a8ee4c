"""The smart grid: its physics against known answers, its tables by hand, and what learning is worth on it."""

import math

import pytest
import torch
from oracles import surrogate as oracles
from oracles.neural import exact_mean

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.named.smart_grid import AirConditioner, band_edges, smart_grid, stress_laws
from altmarl_torch.policies.rules import heuristic_pairs, table
from altmarl_torch.policies.yardsticks import OWN, yardsticks
from altmarl_torch.runs.tensorboard import Tag

LOADS = AirConditioner()
STEP = 5 / 60  # hours
EDGES = band_edges(LOADS, 22.5, 5, 1.0)
GAME = smart_grid()
OFF, ON = 0, 1
FREE, CURTAILED = slice(0, None, 2), slice(1, None, 2)  # s_g = 2 x + e


# ------------------------------------------------------------------------------------------------------- one load


def test_a_load_settles_where_heat_in_is_heat_out():
    """(T_out - T) / R = u eta P: 28 degC below 32 when on, and nowhere below when off."""
    assert LOADS.steady_state(1.0) == pytest.approx(4.0)
    assert LOADS.steady_state(0.0) == 32.0
    assert float(LOADS.expected(torch.tensor(22.5), 1000.0, 0.5)) == pytest.approx(18.0)


def test_a_time_constant_leaves_a_share_of_1_over_e():
    assert LOADS.time_constant == 4.0
    left = float(LOADS.expected(torch.tensor(22.0), 4.0, 0.0)) - 32.0
    assert left == pytest.approx(-10.0 / math.e)


def test_the_first_minutes_follow_the_differential_equation():
    """dT/dt = (32 - 22.5) / 4 = 2.375 degC an hour when off, and 14 kW / 2 kWh/degC = 7 less when on."""
    for duty, slope in ((0.0, 2.375), (1.0, 2.375 - 7.0)):
        moved = float(LOADS.expected(torch.tensor(22.5, dtype=torch.float64), 1e-6, duty)) - 22.5
        assert moved / 1e-6 == pytest.approx(slope, rel=1e-5)


def test_the_noise_begins_as_a_walk_and_ends_stationary():
    assert LOADS.deviation(1e-6) == pytest.approx(0.3 * 1e-3, rel=1e-5)
    assert LOADS.deviation(1e4) == pytest.approx(0.3 * math.sqrt(4.0 / 2))


def test_two_steps_of_the_continuous_model_are_one_of_twice_the_length():
    start = torch.tensor([20.0, 25.0], dtype=torch.float64)
    twice = LOADS.expected(LOADS.expected(start, 0.5, 0.3), 0.5, 0.3)
    torch.testing.assert_close(twice, LOADS.expected(start, 1.0, 0.3))
    decay = math.exp(-0.5 / LOADS.time_constant)
    assert math.hypot(decay * LOADS.deviation(0.5), LOADS.deviation(0.5)) == pytest.approx(LOADS.deviation(1.0))


# ------------------------------------------------------------------------------------------------------ the bands


@pytest.mark.parametrize("duty", [0.0, 0.4, 1.0])
def test_band_laws_are_laws_and_lose_no_mean(duty):
    """The mean over the middles of bands moves as the mean temperature does.

    That is exact for a band that is only shifted. Its image is narrower, by the factor d, and the mean off by up to
    half of what is missing.
    """
    edges = torch.arange(0.0, 42.0, dtype=torch.float64) - 10  # far more bands than a step crosses
    law = LOADS.band_law(edges, STEP, duty)
    assert float(law.min()) >= 0.0
    torch.testing.assert_close(law.sum(-1), torch.ones(41, dtype=torch.float64))
    middles = (edges[1:] + edges[:-1]) / 2
    moved = (law @ middles)[5:-5]
    missing = -math.expm1(-STEP / LOADS.time_constant)
    torch.testing.assert_close(moved, LOADS.expected(middles, STEP, duty)[5:-5], atol=missing / 2, rtol=0)


@pytest.mark.parametrize(("duty", "hours"), [(0.0, STEP), (1.0, STEP), (0.5, 0.5), (1.0, 1.0)])
def test_band_laws_agree_with_simulated_temperatures(duty, hours):
    """20,000 rooms per band, moved by many small Euler steps that know no closed form."""
    rooms, steps = 20_000, 200
    generator = torch.Generator().manual_seed(1)
    low, width = EDGES[:-1, None], EDGES.diff()[:, None]
    temperature = low + width * torch.rand(5, rooms, generator=generator, dtype=torch.float64)
    dt = hours / steps
    for _ in range(steps):
        drift = (LOADS.outdoor - temperature) / 4.0 - duty * 2.5 * 5.6 / 2.0
        shock = torch.randn(temperature.shape, generator=generator, dtype=torch.float64)
        temperature = temperature + drift * dt + 0.3 * math.sqrt(dt) * shock
    band = torch.bucketize(temperature, EDGES[1:-1])
    found = torch.nn.functional.one_hot(band, 5).double().mean(1)
    law = LOADS.band_law(EDGES, hours, duty)
    error = (law * (1 - law) / rooms).sqrt()
    assert bool(((found - law).abs() <= 4 * error + 5e-4).all())  # 5e-4: Euler's error


def test_without_noise_a_band_is_cut_where_its_images_lie():
    """Off, a room at T warms by (32 - T)(1 - d): the share of a band above the edge is that stretch of it."""
    quiet = AirConditioner(noise=1e-3)
    law = quiet.band_law(EDGES, STEP, 0.0)
    d = math.exp(-STEP / 4.0)
    starts = [32 - (32 - edge) / d for edge in EDGES[1:-1].tolist()]  # from here a room just reaches the edge
    for band, (start, edge) in enumerate(zip(starts, EDGES[1:-1].tolist(), strict=True)):
        assert float(law[band, band + 1]) == pytest.approx(edge - start, abs=1e-6)


def test_off_warms_and_on_cools_more_the_longer_it_runs():
    bands = torch.arange(5, dtype=torch.float64)
    means = torch.stack([LOADS.band_law(EDGES, STEP, duty) @ bands for duty in (1.0, 0.7, 0.3, 0.0)])
    assert bool((means.diff(dim=0) >= 0).all())
    assert bool((means[-1, :-1] > bands[:-1]).all())  # the outermost bands are open, and have nowhere to go
    assert bool((means[0, 1:] < bands[1:]).all())


def test_a_hotter_day_and_a_better_wall():
    bands = torch.arange(5, dtype=torch.float64)

    def warmed(loads):
        return loads.band_law(EDGES, STEP, 0.0) @ bands

    assert bool((warmed(AirConditioner(outdoor=38.0))[:-1] > warmed(LOADS)[:-1]).all())
    assert bool((warmed(AirConditioner(resistance=2.5))[:-1] < warmed(LOADS)[:-1]).all())


# ------------------------------------------------------------------------------------------------------ the tables


def test_the_sizes_the_start_and_the_names():
    assert (GAME.num_sg, GAME.num_sl, GAME.num_ag, GAME.num_al) == (6, 5, 2, 2)
    assert (GAME.name, GAME.n, GAME.gamma) == ("smart_grid", 1000, 0.97)
    assert GAME.initial.strength == 5
    assert am.games.make("smart_grid", n=7).n == 7


def test_stress_by_hand():
    """Two levels: the chance to be up after h hours is rise / (rise + fall) (1 - exp(-(rise + fall) h))."""
    law = stress_laws(2, rise=0.5, fall=0.25, relief=0.75, hours=0.2)
    for e, down in ((0, 0.25), (1, 1.0)):
        up = 0.5 / (0.5 + down) * -math.expm1(-(0.5 + down) * 0.2)
        for a in (0, 1):
            assert float(law[0 + e, a, 2 + a]) == pytest.approx(up)
            assert float(law[0 + e, a, 0 + a]) == pytest.approx(1 - up)
            assert float(law[0 + e, a, 1 - a] + law[0 + e, a, 3 - a]) == 0.0  # e' = a_g


def test_a_curtailment_lowers_the_next_stress():
    level = torch.arange(6) // 2
    expected = GAME.P_g @ level.double()  # [sg, ag]
    assert bool((expected[CURTAILED][1:] < expected[FREE][1:]).all())
    torch.testing.assert_close(expected[:, 0], expected[:, 1])  # what is announced works a step later


def test_rewards_by_hand():
    """Band 3 is 2 degC above the set-point; a step is 1/12 h; the dearest entry of r_l is hot, on, at 0.60 a kWh."""
    ache = (1.0 * (9 + 1 / 12) - 1.0 * (4 + 1 / 12)) / 12
    assert float(GAME.r_l[3, 1, OFF] - GAME.r_l[4, 1, OFF]) == pytest.approx(ache)
    assert float(GAME.r_l[3, 2, OFF] - GAME.r_l[3, 2, ON]) == pytest.approx(0.30 * 5.6 / 12)
    assert float(GAME.r_l.min()) == 0.0 == float(GAME.r_l[4, 4, ON])
    assert float(GAME.r_g[0, 0] - GAME.r_g[4, 0]) == pytest.approx(5.0 / 12)
    assert float(GAME.r_g[0, 0] - GAME.r_g[5, 0]) == pytest.approx(0.1 * 5.0 / 12)  # a curtailment sheds 90 %
    assert float(GAME.r_g[2, 0] - GAME.r_g[2, 1]) == pytest.approx(0.5)  # calling one
    assert float(GAME.r_g.min()) == 0.0 == float(GAME.r_g[4, 1])


def test_stress_costs_the_grid_and_those_who_draw_during_it():
    assert bool((GAME.r_g[FREE].diff(dim=0) < 0).all())
    assert bool((GAME.r_g[CURTAILED].diff(dim=0) < 0).all())
    assert bool((GAME.r_l[:, FREE, ON].diff(dim=1) < 0).all())
    torch.testing.assert_close(GAME.r_l[:, :1, OFF].expand(-1, 6), GAME.r_l[:, :, OFF])  # those who do not, pay nothing


def test_an_interrupted_machine_is_off_whatever_it_asks_for():
    torch.testing.assert_close(GAME.P_l[:, CURTAILED, ON], GAME.P_l[:, CURTAILED, OFF])
    torch.testing.assert_close(GAME.r_l[:, CURTAILED, ON], GAME.r_l[:, CURTAILED, OFF])


def test_a_cycled_machine_runs_and_pays_for_its_share():
    game = smart_grid(cycling=0.5)
    torch.testing.assert_close(game.P_l[:, 1, ON], LOADS.band_law(EDGES, STEP, 0.5))
    bill = game.r_l[:, :, OFF] - game.r_l[:, :, ON]
    torch.testing.assert_close(bill[:, CURTAILED], bill[:, FREE] / 2)


def test_levels_and_bands_are_the_callers():
    game = smart_grid(num_bands=7, band_width=0.5, price=(0.1, 0.2), stress_cost=(0, 3), minutes=15)
    assert (game.num_sg, game.num_sl) == (4, 7)


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minutes": 0}, r"^minutes must be a number in \[0.01, 240\], not 0"),
        ({"minutes": 241}, r"^minutes must be a number in \[0.01, 240\]"),
        ({"minutes": math.nan}, "^minutes must be"),
        ({"rise": -1}, r"^rise must be a number in \[0, 1000\]"),
        ({"relief": "much"}, "^relief must be a number .* not 'much'"),
        ({"cycling": 1.5}, r"^cycling must be a number in \[0, 1\]"),
        ({"shed": 2}, r"^shed must be a number in \[0, 1\]"),
        ({"discomfort": math.inf}, "^discomfort must be"),
        ({"call_cost": None}, "^call_cost must be"),
        ({"num_bands": 2}, r"^num_bands must be an integer in 3\.\.50"),
        ({"num_bands": 5.0}, "^num_bands must be an integer"),
        ({"setpoint": 40}, "the bands reach from 38.5 to 43.5 degC, but rooms settle at 4 when on and 32"),
        ({"num_bands": 12}, "the bands reach from 21 to 33 degC.*the bands must lie between"),
        ({"price": (0.1, 0.2)}, "^price has 2 levels of stress, but stress_cost has 3"),
        ({"price": (0.1,), "stress_cost": (1,)}, r"^len\(price\) must be an integer in 2\.\.20"),
        ({"price": (0.1, -0.2, 0.3)}, r"^price\[x=1\] is -0.2; it must be in \[0, 1e\+06\]"),
        ({"stress_cost": (0, math.nan, 1)}, r"^stress_cost\[x=1\] is nan"),
        ({"stress_cost": "high"}, "^stress_cost"),
        ({"loads": 5}, "^loads must be an AirConditioner, not int"),
    ],
)
def test_arguments_are_refused_in_words(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        smart_grid(**arguments)


@pytest.mark.parametrize("name", ["resistance", "capacitance", "power", "cop", "noise", "outdoor"])
@pytest.mark.parametrize("value", [-1000, math.nan, math.inf, "2", None, True])
def test_loads_that_are_none_are_refused(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must be a number in"):
        AirConditioner(**{name: value})


def test_the_games_own_numbers_are_refused_by_the_game():
    with pytest.raises(GameError, match=r"^gamma must be"):
        smart_grid(gamma=1)
    with pytest.raises(GameError, match=r"^n must be"):
        smart_grid(n=0)


@pytest.mark.parametrize(
    "extreme", [{"noise": 1e-3}, {"noise": 1e3}, {"resistance": 1e3}, {"capacitance": 0.1, "power": 1e3, "cop": 1e3}]
)
def test_extreme_loads_still_have_laws(extreme):
    game = smart_grid(AirConditioner(**extreme), minutes=0.5)  # Game refuses what is no law
    assert bool(game.P_l.isfinite().all())


# -------------------------------------------------------------------------------------------- learning, and yardsticks


@pytest.fixture(scope="module")
def solution():
    return am.solve(GAME, 3, solver="tabular")


def exact_value(pair):
    """The value on the surrogate of 3 agents, averaged over the start."""
    return exact_mean(GAME, table(GAME, pair.rule, am.CountSimplex(3, GAME.num_sl)), pair.pi_l, 3)


def test_the_learned_value_is_golden(solution):
    assert solution.converged
    assert solution.value == pytest.approx(55.61422, abs=1e-4)
    values = oracles.joint_value(GAME, solution.pi_g, solution.pi_l, 3)  # every load moved one by one
    law = GAME.initial.count_law(solution.simplex.counts)
    assert float((torch.from_numpy(values) @ law).mean()) == pytest.approx(55.61422, abs=1e-4)


def test_the_learned_pair_is_an_equilibrium_within_a_thousandth(solution):
    assert am.certify(GAME, solution).nash_gap < 1e-3 * solution.value


def test_the_learned_pair_beats_every_yardstick_on_the_surrogate(solution):
    values = {name: exact_value(pair) for name, pair in yardsticks(GAME, 3).items()}
    assert max(values.values()) < solution.value - 0.5


def test_loads_are_cooled_when_hot_and_the_coordinator_looks_at_them(solution):
    on = solution.pi_l[:, FREE, ON]  # [sl, x]
    assert bool((on.diff(dim=0) >= 0).all())
    assert on[0].tolist() == [0, 0, 0]
    assert on[4].tolist() == [1, 1, 1]
    simplex = am.CountSimplex(3, 5)
    cool, hot = (simplex.rank(torch.tensor(counts)) for counts in ([3, 0, 0, 0, 0], [0, 0, 0, 0, 3]))
    assert solution.pi_g[4, cool].argmax() == 1  # the same emergency, another answer
    assert solution.pi_g[4, hot].argmax() == 0


def test_seeing_more_loads_is_worth_something():
    one, three = (am.solve(GAME, k, solver="tabular") for k in (1, 3))
    assert am.paired_difference(GAME, three, one, episodes=300).low > 0.5


def test_yardsticks_are_the_heuristics_and_the_rules_of_the_game():
    names = list(yardsticks(GAME, 4))
    own = [f"{rule} + thermostat" for rule in ("never", "alert", "emergency", "sparing")]
    assert names == [*heuristic_pairs(GAME, 4), *own]
    assert all(Tag.of_heuristic(name) in list(Tag) for name in names)
    assert all(pair.k == 4 for pair in yardsticks(GAME, 4).values())


def test_the_rules_by_hand():
    pairs = yardsticks(GAME, 4)
    s_g = torch.arange(6)
    hot, half = torch.tensor([0, 1, 0, 2, 1]).expand(6, -1), torch.tensor([1, 1, 0, 1, 1]).expand(6, -1)

    def played(name, counts):
        return pairs[f"{name} + thermostat"].rule(s_g, counts).argmax(-1).tolist()

    assert played("never", hot) == [0, 0, 0, 0, 0, 0]
    assert played("alert", hot) == [0, 0, 1, 1, 1, 1]
    assert played("emergency", hot) == [0, 0, 0, 0, 1, 1]
    assert played("sparing", hot) == [0, 0, 0, 0, 0, 0]
    assert played("sparing", half) == [0, 0, 0, 0, 1, 1]
    assert pairs["never + thermostat"].pi_l.argmax(-1).T.tolist() == 6 * [[0, 0, 1, 1, 1]]


def test_a_game_without_rules_of_its_own_has_the_heuristics():
    steer = am.games.steer()
    assert list(yardsticks(steer, 2)) == list(heuristic_pairs(steer, 2))
    namesake = steer.replace(name="smart_grid")  # two local states: no band above the comfort band
    assert list(yardsticks(namesake, 2)) == list(heuristic_pairs(steer, 2))
    assert set(OWN) <= set(am.games.names())


def test_yardsticks_refuse_what_is_no_game_and_no_sample():
    with pytest.raises(ArgumentError, match=r"^game must be a Game"):
        yardsticks("smart_grid", 2)
    with pytest.raises(ArgumentError, match=r"^k must be an integer in 1\.\.1000"):
        yardsticks(GAME, 0)
