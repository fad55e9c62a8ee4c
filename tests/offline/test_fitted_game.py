"""Games counted from logs: frequencies by hand, standard errors that cover, gaps that are named."""

import itertools

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, GameError, LogError, SizeError
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.games.logs.transitions import COLUMNS, Transitions
from altmarl_torch.runs.cli.main import main
from altmarl_torch.support.files import read_json

AXES = {"P_g": ("sg", "ag"), "P_l": ("sl", "sg", "al")}


def logged(game, rows, seed=0, noise=0.0):
    """Independent rows: uniform states and actions, next states from the kernels."""
    draw = np.random.default_rng(seed)
    sizes = {"sg": game.num_sg, "sl": game.num_sl, "ag": game.num_ag, "al": game.num_al}
    table = {name: draw.integers(0, size, rows) for name, size in sizes.items()}
    for name, words in AXES.items():
        law = getattr(game, name).numpy()[tuple(table[word] for word in words)]
        table[f"{words[0]}_next"] = (law.cumsum(-1) < draw.random((rows, 1))).sum(-1).clip(max=law.shape[-1] - 1)
    table["r_g"] = game.r_g.numpy()[table["sg"], table["ag"]] + noise * draw.normal(size=rows)
    table["r_l"] = game.r_l.numpy()[table["sl"], table["sg"], table["al"]] + noise * draw.normal(size=rows)
    return table


HAND = {
    **{"sg": [0, 0, 0, 1], "ag": [0, 0, 0, 0], "r_g": [1.0, 2.0, 3.0, 5.0], "sg_next": [0, 1, 1, 1]},
    **{"sl": [0, 0, 0, 0], "al": [0, 0, 0, 0], "r_l": [7.0, 7.0, 7.0, 9.0], "sl_next": [0, 0, 0, 0]},
}


def test_frequencies_and_means_by_hand():
    game = am.Game.from_transitions(HAND, gamma=0.5, n=3, name="by hand")
    assert torch.allclose(game.P_g, torch.tensor([[[1 / 3, 2 / 3]], [[0.0, 1.0]]], dtype=torch.float64))
    assert torch.allclose(game.r_g, torch.tensor([[2.0], [5.0]], dtype=torch.float64))
    assert torch.allclose(game.r_l, torch.tensor([[[7.0], [9.0]]], dtype=torch.float64))
    assert (game.P_l == 1).all()
    assert (game.name, game.n, game.gamma) == ("by hand", 3, 0.5)


def test_the_prior_s_means_and_errors_by_hand():
    fitted = am.estimate(HAND, gamma=0.5, n=3, smoothing=0.5)
    expected = torch.tensor([1.5 / 4, 2.5 / 4], dtype=torch.float64)
    assert torch.allclose(fitted.game.P_g[0, 0], expected)
    assert torch.allclose(fitted.errors["P_g"][0, 0], (expected * (1 - expected) / 5).sqrt())
    assert fitted.errors["r_l"].abs().max() == 0  # rewards that never vary
    # at (0, 0): squares 2, within-variance 2 / 2 = 1: v = (2 + 1) / 3; at (1, 0): one visit, v = 1
    assert torch.allclose(fitted.errors["r_g"], torch.tensor([[(1 / 3) ** 0.5], [1.0]], dtype=torch.float64))


def test_a_step_s_global_part_is_counted_once():
    twice = {name: np.repeat(column, 3) for name, column in HAND.items()}
    numbered = {"episode": np.repeat([0, 1, 2, 3], 3), "step": np.zeros(12)}
    game = am.estimate(twice | numbered, gamma=0.5, n=3)
    assert game.counted.counts["P_g"].sum() == 4
    assert game.counted.counts["P_l"].sum() == 12


@pytest.mark.parametrize("smoothing", [None, 0.5])
def test_many_rows_give_the_game_within_their_standard_errors(smoothing):
    game = random_game(3, 3, 4, 2, seed=1)
    errors = []
    for seed in range(5):
        fitted = am.estimate(logged(game, 40_000, seed, noise=0.3), gamma=0.9, n=10, smoothing=smoothing)
        for name in ("P_g", "P_l", "r_g", "r_l"):
            errors += ((getattr(fitted.game, name) - getattr(game, name)) / fitted.errors[name]).flatten().tolist()
    squares = np.square(errors)
    assert squares.max() < 25
    assert squares.mean() == pytest.approx(1, abs=0.15)


def test_unseen_pairs_that_can_be_reached_are_refused_by_name():
    table = {name: column[:60] for name, column in logged(warehouse(), 1000).items()}
    with pytest.raises(GameError, match=r"from P_g\[sg=1, ag=2\].* and 29 more, which can be reached; log more"):
        am.Game.from_transitions(table, gamma=0.95, n=100)


def test_smoothing_fills_them_in_and_says_so():
    table = {name: column[:60] for name, column in logged(warehouse(), 1000).items()}
    fitted = am.estimate(table, gamma=0.95, n=100, smoothing=0.5)
    at = next(index for index in np.argwhere(fitted.counted.unseen["P_l"]).tolist())
    assert "P_l[sl={}, sg={}, al={}]".format(*at) in fitted.unseen
    assert torch.allclose(fitted.game.P_l[tuple(at)], torch.tensor(0.2, dtype=torch.float64))
    assert fitted.errors["r_l"][tuple(at)] > 1
    assert "never seen, though it can be reached: P_g[" in fitted.report()


def test_what_cannot_be_reached_does_not_matter():
    """States 2 of both players never occur: their rows stay where they are, and nothing is refused."""
    game = steer()
    fitted = am.estimate(logged(game, 4000), gamma=0.8, n=10, num_sg=3, num_sl=3)
    assert fitted.game.P_g[2].argmax(-1).tolist() == [2, 2]
    assert fitted.game.P_l[2, 0, 0].tolist() == [0, 0, 1]
    assert fitted.game.initial.sg.tolist() == [0.5, 0.5, 0]
    everywhere = am.InitialLaw.uniform(3, 3)
    with pytest.raises(GameError, match=r"no transition from P_g\[sg=2, ag=0\]"):
        am.estimate(logged(game, 4000), gamma=0.8, n=10, num_sg=3, num_sl=3, initial=everywhere)


def test_the_first_state_s_law_is_read_off_many_episodes():
    true = am.InitialLaw([0.2, 0.8], [0.5, 0.3, 0.2], 2.0)
    generator, episodes, agents = torch.Generator().manual_seed(0), 4000, 6
    sg, mu = true.sample_sg(episodes, generator), true.sample_mu(episodes, generator)
    sl = torch.multinomial(mu, agents, True, generator=generator).flatten().numpy()
    first = {"sg": np.repeat(sg.numpy(), agents), "sl": sl, "episode": np.repeat(np.arange(episodes), agents)}
    first |= {"step": np.full(len(sl), 3), "sg_next": first["sg"], "sl_next": sl}
    rest = {name: np.zeros(len(sl)) for name in ("ag", "al", "r_g", "r_l")}
    with pytest.raises(GameError, match="no transition"):  # of the pairs (s_l, s_g) that are reached, few have been met
        am.estimate({name: column[:30] for name, column in (first | rest).items()}, gamma=0.5, n=6, num_al=2)
    initial = am.Game.from_transitions(first | rest, gamma=0.5, n=6).initial
    assert np.allclose(initial.sg, true.sg, atol=0.03)
    assert np.allclose(initial.local_mean, true.local_mean, atol=0.03)
    assert initial.strength == pytest.approx(2.0, rel=0.1)


def test_draws_spread_as_the_errors_say_and_keep_the_means():
    fitted = am.estimate(logged(random_game(2, 2, 3, 2), 500, noise=0.2), gamma=0.9, n=10)
    drawn = [fitted.draw(seed) for seed in range(400)]
    for name in ("P_g", "P_l", "r_g", "r_l"):
        tables, error = torch.stack([getattr(game, name) for game in drawn]), fitted.errors[name]
        assert ((tables.mean(0) - getattr(fitted.game, name)).abs() <= 4.5 * error / 20 + 1e-12).all()
        assert torch.allclose(tables.std(0), error, rtol=0.2)


def test_the_returns_of_a_pair_are_surer_after_a_longer_log():
    game = warehouse()
    pair = am.heuristics.heuristic_pair(game, 5, "hold", "walk")
    short, long = (am.estimate(logged(game, rows), gamma=0.95, n=1000) for rows in (3_000, 100_000))
    spread = [fitted.returns(pair, draws=12, episodes=50) for fitted in (short, long)]
    assert spread[0].std() > 2 * spread[1].std()
    assert torch.equal(spread[1], long.returns(pair, draws=12, episodes=50))


def test_the_solution_of_a_counted_game_is_that_of_the_game():
    game = steer(n=50)
    fitted = am.Game.from_transitions(logged(game, 50_000), gamma=game.gamma, n=50)
    pairs = [am.solve(one, 3) for one in (game, fitted)]
    assert torch.equal(*(pair.pi_l for pair in pairs))
    assert pairs[1].value == pytest.approx(pairs[0].value, rel=0.02)


def test_a_path_is_a_table(tmp_path):
    Transitions.of(logged(steer(), 1000)).save(tmp_path / "log.csv")
    Transitions.of(logged(steer(), 1000)).save(tmp_path / "log.npz")
    games = [am.Game.from_transitions(tmp_path / f"log.{kind}", gamma=0.8, n=5) for kind in ("csv", "npz")]
    for name, one in itertools.product(("P_g", "P_l", "r_g", "r_l"), games):
        assert torch.equal(getattr(one, name), getattr(games[0], name))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"smoothing": 0}, ArgumentError, r"smoothing must be a number in \(0, inf\), or None, not 0"),
        ({"smoothing": float("nan")}, ArgumentError, "smoothing must be"),
        ({"num_sg": 0}, ArgumentError, "num_sg must be an integer"),
        ({"num_sg": 1}, LogError, "the log, row 3: sg is 1; num_sg = 1: the states are 0..0"),
        ({"gamma": 1.0}, GameError, "gamma must be"),
        ({"n": 0}, GameError, "n must be"),
        ({"num_sl": 10**6}, SizeError, "P_l would have"),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        am.Game.from_transitions(HAND, **({"gamma": 0.5, "n": 3} | options))


class TestCommand:
    """`altmarl fit`."""

    @pytest.fixture
    def log(self, tmp_path):
        Transitions.of(logged(steer(), 2000)).save(tmp_path / "fleet.csv")
        return tmp_path / "fleet.csv"

    def test_it_writes_the_game_and_the_report(self, log, tmp_path, capsys):
        out = tmp_path / "counted.npz"
        assert main(f"fit {log} --gamma 0.8 --n 50 --k 2 --draws 4 --out {out}".split()) == 0
        game = am.Game.load(out)
        assert torch.equal(game.P_l, am.Game.from_transitions(log, gamma=0.8, n=50).P_l)
        assert (game.name, game.n, game.gamma) == ("fleet", 50, 0.8)
        report = read_json(tmp_path / "counted.json")
        assert report["rows"] == report["steps"] == 2000
        assert report["never_seen"] == []
        assert np.array(report["standard_errors"]["P_l"]).shape == (2, 2, 2, 2)
        solution = report["solution"]
        assert solution["draws_least"] <= solution["draws_mean"] <= solution["draws_most"]
        printed = capsys.readouterr().out
        assert "largest standard error" in printed
        assert "in 4 games that the log allows as well" in printed
        assert "chosen on half the log, pairs earn" in printed
        assert solution["optimism"] == pytest.approx((solution["half_promised"] - solution["half_kept"]) / 2**0.5)
        options = f"--k 2 --solver tabular --episodes 5 --horizon 5 --quiet --runs-dir {tmp_path / 'runs'}"
        assert main(f"train --game {out} {options}".split()) == 0

    def test_trajectories_say_what_a_log_does_not(self, tmp_path, capsys):
        data, out = tmp_path / "data.npz", tmp_path / "counted.npz"
        assert main(f"collect --game steer --k 2 --steps 500 --trajectories 2 --n 40 --out {data}".split()) == 0
        assert main(f"collect --game steer --k 1 --steps 5 --out {data}".split()) == 2
        assert f"{data} is there already" in capsys.readouterr().err
        assert am.Trajectories.load(data).k == 2
        assert main(f"fit {data} --out {out}".split()) == 0
        capsys.readouterr()
        game = am.Game.load(out)
        assert (game.n, game.gamma, game.num_sl) == (40, 0.8, 2)
        assert main(f"fit {data} --out {out} --n 7".split()) == 2  # the file of before is kept
        assert (
            capsys.readouterr().err
            == f"error: {out} is there already: pass --force to write over it, or another --out\n"
        )
        assert am.Game.load(out).n == 40
        assert main(f"fit {data} --out {out} --n 7 --force".split()) == 0
        assert am.Game.load(out).n == 7
        assert (
            "2,000 transitions of local agents, 1,000 steps of the global agent in 2 episodes"
            in capsys.readouterr().out
        )

    @pytest.mark.parametrize(
        ("options", "code", "message"),
        [
            ("--gamma 0.8 --n 50 --num-sl 1", 1, "num_sl = 1: the states are 0..0"),
            ("--gamma 0.8 --n 50 --num-al 3", 1, "the log has no transition from P_l[sl=0, sg=0, al=2]"),
            ("--gamma 0.8 --n 50 --out game.csv", 2, "out must end in .npz"),
            ("--gamma 1 --n 50", 1, "gamma must be"),
            ("--n 50", 2, "fleet.csv does not say gamma: give --gamma"),
            ("--gamma 0.8 --n 50 --k 60", 2, "k must be an integer in 1..50"),
            ("--gamma 0.8 --n 50 --k 2 --draws 0", 2, "draws must be an integer at least 1"),
        ],
    )
    def test_what_is_wrong_is_one_line(self, log, capsys, options, code, message):
        assert main(f"fit {log} {options}".split()) == code
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_all_columns_are_documented():
    import altmarl_torch.games.logs.transitions as logs

    assert all(f"\n    {name} " in logs.__doc__ for name in (*COLUMNS, "episode", "step"))
