"""What the rows of a log say of each other: doubles, shared rewards, ends, and states that are not there."""

import math

import numpy as np
import pytest

import altmarl_torch as am
from altmarl_torch.errors import GameError, LogError


def log(episodes=60, steps=3, agents=3, seed=0):
    draw = np.random.default_rng(seed)
    shape = (episodes, steps, agents)
    index = dict(zip(("episode", "step", "agent"), (axis.ravel() for axis in np.indices(shape)), strict=True))
    sg = np.broadcast_to(draw.integers(0, 2, (episodes, steps + 1, 1)), (episodes, steps + 1, agents))
    sl = draw.integers(0, 3, (episodes, steps + 1, agents))
    ag = np.broadcast_to(draw.integers(0, 2, (episodes, steps, 1)), shape)
    r_g = np.broadcast_to(draw.normal(size=(episodes, steps, 1)), shape)
    wide = {"sg": sg[:, :-1], "sg_next": sg[:, 1:], "ag": ag, "r_g": r_g, "sl": sl[:, :-1], "sl_next": sl[:, 1:]}
    wide |= {"al": draw.integers(0, 2, shape), "r_l": draw.normal(size=shape)}
    return index | {name: column.ravel() for name, column in wide.items()}


def fit(table, **options):
    return am.estimate(table, **{"gamma": 0.9, "n": 5, "smoothing": 0.5} | options)


def test_rows_of_one_agent_in_one_step_are_counted_once(caplog):
    once, columns = fit(log()), log()
    pick = np.concatenate([np.arange(len(columns["sl"])), np.arange(100)])  # the first hundred are there again
    twice = fit({name: column[pick] for name, column in columns.items()})
    assert "100 rows stand there twice" in caplog.text
    assert "100 rows stood there twice" in twice.report()
    assert all(np.array_equal(once.counted.errors[name], twice.counted.errors[name]) for name in once.counted.errors)
    assert once.game.initial.strength == twice.game.initial.strength


def test_rows_of_one_agent_in_one_step_that_disagree_are_refused():
    columns = {name: np.concatenate([column, column[:1]]) for name, column in log().items()}
    columns["sl_next"][-1] = (columns["sl_next"][-1] + 1) % 3
    with pytest.raises(LogError, match=r"row 540: sl_next is \d; row 0, of the same step and agent, says otherwise"):
        fit(columns)


def test_a_whole_log_that_is_there_twice_without_agents_is_told():
    columns = log()
    del columns["agent"]
    twice = fit({name: np.concatenate([column, column]) for name, column in columns.items()}, n=6)
    assert "every row stands there 2 times" in twice.report()
    assert "times" not in fit(columns).report()


def test_more_agents_in_a_step_than_there_are_is_refused():
    with pytest.raises(LogError, match=r"episode 0, step 0 shows 3 agents, of n = 2"):
        fit(log(), n=2)


def test_one_agent_an_episode_says_nothing_of_the_strength():
    one = fit(log(agents=1))
    assert math.isinf(one.game.initial.strength)
    assert "strength not known" in one.report()
    assert "strength not known" not in fit(log(agents=2)).report()


@pytest.mark.parametrize("nothing", [math.nan, None])
def test_the_global_reward_may_stand_on_one_row_of_a_step(nothing):
    columns = log()
    last = columns["agent"] == 2
    given = [reward if here else nothing for reward, here in zip(columns["r_g"].tolist(), last, strict=True)]
    assert np.array_equal(fit(columns | {"r_g": given}).counted.tables["r_g"], fit(log()).counted.tables["r_g"])
    with pytest.raises(LogError, match=r"row 0: r_g is nan .*expected a finite number on one row of each step"):
        fit(columns | {"r_g": [nothing] * 3 + given[3:]})
    del columns["episode"], columns["step"], columns["agent"]
    with pytest.raises(LogError, match=r"row 0: r_g is nan"):
        fit(columns | {"r_g": given})


def test_rounding_of_the_global_reward_is_no_contradiction():
    columns = log()
    noise = np.random.default_rng(1).normal(size=len(columns["sl"])) * 1e-9
    fit(columns | {"r_g": (columns["r_g"] + noise).astype(np.float32)})
    columns["r_g"][1] += 1e-4
    with pytest.raises(LogError, match=r"row 1: r_g is (\S+); row 0, .* has (\S+)$") as caught:
        fit(columns)
    assert str(columns["r_g"][0]) in str(caught.value)


def dying(mark, seed=0):
    draw, rows = np.random.default_rng(seed), []
    for episode in range(400):
        for step in range(200):
            al = int(draw.integers(2))
            broken = int(draw.random() < (0.2 if al else 0.05))
            rows.append((0, 0, 0.0, 0, 0, al, 1.0, broken, episode, step, broken))
            if broken:
                break
    names = ("sg", "ag", "r_g", "sg_next", "sl", "al", "r_l", "sl_next", "episode", "step", "terminated")
    return dict(zip(names[: 10 + mark], np.array(rows).T, strict=False))


@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_a_marked_end_is_absorbing_and_earns_nothing(smoothing):
    fitted = fit(dying(True), gamma=0.95, n=10, smoothing=smoothing)
    assert fitted.game.P_l[1].tolist() == [[[0.0, 1.0], [0.0, 1.0]]]
    assert fitted.game.r_l[1].tolist() == [[0.0, 0.0]]
    assert fitted.game.r_l[0].tolist() == [[1.0, 1.0]]
    start = am.InitialLaw([1.0], [1.0, 0.0])
    value = am.solve(fitted.game.replace(initial=start), 1).value
    assert value == pytest.approx(1 / (1 - 0.95 * float(fitted.game.P_l[0, 0, 0, 0])), rel=1e-6)
    assert fitted.draw(0).P_l[1].tolist() == [[[0.0, 1.0], [0.0, 1.0]]]
    assert "absorbing, since rows that lead there are marked as terminated: sl=1" in fitted.report()


def test_an_end_without_a_mark_is_refused_or_told():
    with pytest.raises(GameError, match=r"No transition leaves sl=1.*terminated.*absorbing"):
        fit(dying(False), smoothing=None)
    assert "No transition leaves sl=1" in fit(dying(False)).report()


def test_an_end_of_the_whole_system():
    rows = [(0, 0, 1.0, 0, sl, 0, 1.0, 1 - sl, e, 0, 0) for e in range(40) for sl in (0, 1)]
    rows += [(0, 0, 1.0, 1, sl, 0, 1.0, sl, e, 1, 1) for e in range(40) for sl in (0, 1)]
    names = ("sg", "ag", "r_g", "sg_next", "sl", "al", "r_l", "sl_next", "episode", "step", "terminated")
    game = fit(dict(zip(names, np.array(rows).T, strict=True)), smoothing=None).game
    assert game.P_g.tolist() == [[[0.5, 0.5]], [[0.0, 1.0]]]
    assert game.r_g.tolist() == [[1.0], [0.0]]
    assert game.r_l[:, 1].tolist() == [[0.0], [0.0]]
    assert game.P_l[:, 1, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_an_end_that_is_left_is_refused():
    table = dying(True)
    table["sl"][7] = 1
    table["sl_next"][7] = table["terminated"][7] = 0
    del table["episode"], table["step"]
    with pytest.raises(LogError, match=r"row 7: sl is 1; a row with terminated = 1 leads there"):
        fit(table)


def test_states_that_never_occur_are_named():
    columns = log()
    ids = columns | {name: 10 + 10 * columns[name] for name in ("sl", "sl_next")}
    assert "of the 31 states s_l, 28 never occur in the log: 0, 1, 2," in fit(ids).report()
    assert "never occur" not in fit(columns).report()


def test_a_reward_that_never_varies_is_kept_exactly():
    columns = log()
    columns["r_l"] = np.where(columns["sl"] == 0, 0.0, 1e6 + 0.1 * columns["sl"])
    fitted = fit(columns)
    assert fitted.game.r_l[0].tolist() == [[0.0, 0.0]] * 2
    assert set(fitted.game.r_l[1].flatten().tolist()) == {1e6 + 0.1}
    assert not fitted.errors["r_l"].any()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_rewards_that_cancel_are_zero_and_not_what_rounding_leaves(scale):
    """0.1, 0.2 and -0.3 in turn sum to nothing; in floating point 333 rounds of them do not."""
    earned = scale * np.tile([0.1, 0.2, -0.3], 333)
    rows = {name: np.zeros(999) for name in ("sg", "ag", "r_g", "sg_next", "sl", "al", "sl_next")}
    game = am.Game.from_transitions(rows | {"r_l": earned}, gamma=0.9, n=5)
    assert game.r_l.tolist() == [[[0.0]]]
    biased = am.Game.from_transitions(rows | {"r_l": earned + 1e-9 * scale}, gamma=0.9, n=5)
    assert float(biased.r_l) == pytest.approx(1e-9 * scale, rel=1e-5)
