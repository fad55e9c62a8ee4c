"""Federated averaging against plain gradient descent, the levels and the log by hand, and the shipped game."""

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch import games
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.federated import building, simulation
from altmarl_torch.federated.__main__ import main
from altmarl_torch.federated.building import COLUMNS, Explorer, LogPlan, build, read_setup, sha256, write
from altmarl_torch.federated.client import Client
from altmarl_torch.federated.comparing import CONSTANT, LEARNED, MEASURES, PairController, compare, figure, schedules
from altmarl_torch.federated.episodes import play
from altmarl_torch.federated.simulation import Digits, Federation, Setting, average, dirichlet_split, losses, sgd_steps
from altmarl_torch.federated.situations import (
    MODES,
    PRICE_SHARE,
    PRICE_STEP,
    START,
    STEPS,
    Observer,
    global_reward,
    local_rewards,
)
from altmarl_torch.games.named.federated import TABLES, federated
from altmarl_torch.policies.rules import constant_values
from altmarl_torch.policies.yardsticks import yardsticks
from altmarl_torch.support.files import read_json, write_json

PROVENANCE = TABLES.with_suffix(".json")
MINIATURE = Setting(num_clients=6, batch=4)
OBSERVER = Observer(2.0, (0.5, 1.0, 2.0))


def some_digits(items: int = 600) -> Digits:
    """Made-up images of ten classes, enough to train on; the real ones need scikit-learn."""
    generator = np.random.default_rng(0)
    y = torch.from_numpy(generator.integers(10, size=items))
    centres = torch.from_numpy(generator.random((10, 64)))
    x = centres[y] + 0.1 * torch.from_numpy(generator.standard_normal((items, 64)))
    return Digits(torch.cat([x, torch.ones(items, 1, dtype=torch.float64)], 1), y)


def plain_gradient_step(model: torch.Tensor, x: torch.Tensor, y: torch.Tensor, rate: float) -> torch.Tensor:
    model = model.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(x @ model, y)
    return (model - rate * torch.autograd.grad(loss, model)[0]).detach()


# ------------------------------------------------------------------------------------------------- the simulation


def test_one_step_of_all_clients_is_a_gradient_step_of_each() -> None:
    federation = Federation(MINIATURE, 0, some_digits())
    x, y = federation.data.x, federation.data.y
    models = torch.randn(6, 65, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stepped = sgd_steps(models, x, y, 0.3)
    for client in range(6):
        torch.testing.assert_close(stepped[client], plain_gradient_step(models[client], x[client], y[client], 0.3))


def test_one_client_averaged_in_each_round_is_plain_gradient_descent() -> None:
    federation = Federation(Setting(num_clients=1, batch=10**6, churn=0.0), 3, some_digits())
    model = federation.server.clone()
    for _ in range(3):
        federation.round(torch.tensor([2]), 1.0)
        for _ in range(2):
            model = plain_gradient_step(model, federation.data.x[0], federation.data.y[0], 0.5)
    torch.testing.assert_close(federation.server, model)
    torch.testing.assert_close(federation.models[0], model)


def test_one_step_and_an_average_of_all_is_a_centralised_step() -> None:
    """With unlike data too: the mean of the gradients is the gradient of the mean."""
    federation = Federation(Setting(num_clients=6, batch=10**6, churn=0.0), 3, some_digits())
    model = federation.server.clone()
    for _ in range(4):
        federation.round(torch.ones(6, dtype=torch.int64), 1.0)
        model = plain_gradient_step(model, federation.data.x.flatten(0, 1), federation.data.y.flatten(), 0.5)
    torch.testing.assert_close(federation.server, model)


def test_identical_clients_are_one_client_for_any_number_of_steps() -> None:
    federation = Federation(Setting(num_clients=4, batch=10**6, churn=0.0), 3, some_digits())
    federation.data = federation.data.part(torch.tensor([2, 2, 2, 2]))
    model = federation.server.clone()
    federation.round(torch.full((4,), 5), 1.0)
    for _ in range(5):
        model = plain_gradient_step(model, federation.data.x[0], federation.data.y[0], 0.5)
    torch.testing.assert_close(federation.server, model)
    torch.testing.assert_close(federation.drift(), torch.zeros(4, dtype=torch.float64))


def test_who_makes_no_steps_stays_and_steps_are_each_clients_own() -> None:
    federation = Federation(Setting(num_clients=3, batch=10**6, churn=0.0), 1, some_digits())
    before = federation.models.clone()
    federation.train(torch.tensor([0, 1, 2]))
    assert torch.equal(federation.models[0], before[0])
    once = sgd_steps(before, federation.data.x, federation.data.y, 0.5)
    torch.testing.assert_close(federation.models[1], once[1])
    torch.testing.assert_close(federation.models[2], sgd_steps(once, federation.data.x, federation.data.y, 0.5)[2])


def test_average_by_hand() -> None:
    models = torch.tensor([1.0, 2.0, 6.0]).reshape(3, 1, 1)
    server = torch.full((1, 1), 9.0)
    assert average(models, torch.tensor([True, False, True]), server).tolist() == [[3.5]]
    assert torch.equal(average(models, torch.tensor([False] * 3), server), server)


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.25, 5), (1.0, 20)])
def test_the_share_takes_part_takes_over_and_the_others_do_not(share: float, number: int) -> None:
    federation = Federation(Setting(num_clients=20, churn=0.0), 1, some_digits())
    federation.train(torch.full((20,), 2))
    before = federation.models.clone()
    federation.communicate(share)
    took_over = (federation.models == federation.server).flatten(1).all(1)
    assert int(took_over.sum()) == number
    assert torch.equal(federation.models[~took_over], before[~took_over])


def test_the_loss_of_the_mean_is_at_most_the_mean_of_the_losses() -> None:
    digits = some_digits()
    models = torch.randn(5, 65, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(losses(models.mean(0), digits)) <= float(losses(models, digits).mean())
    by_hand = torch.nn.functional.cross_entropy(digits.x @ models[1], digits.y)
    torch.testing.assert_close(losses(models, digits)[1], by_hand)
    assert float(losses(torch.zeros(65, 10, dtype=torch.float64), digits)) == pytest.approx(math.log(10))


def test_everybody_leaves_or_nobody() -> None:
    stay = Federation(Setting(num_clients=6, churn=0.0), 1, some_digits())
    before = stay.models.clone()
    stay.round(torch.zeros(6, dtype=torch.int64), 0.0)
    assert torch.equal(stay.models, before)
    leave = Federation(Setting(num_clients=6, churn=1.0, spread=0.0), 1, some_digits())
    leave.round(torch.full((6,), 3), 0.0)
    assert torch.equal(leave.models, torch.zeros_like(leave.models))


def test_parts_are_disjoint_and_a_seed_is_a_federation() -> None:
    digits = some_digits()
    one, same, other = (Federation(MINIATURE, seed, digits) for seed in (5, 5, 6))
    assert torch.equal(one.data.x, same.data.x)
    assert torch.equal(one.server, same.server)
    assert not torch.equal(one.data.x, other.data.x)
    rows = torch.cat([one.data.x.flatten(0, 1), one.probe.x, one.validation.x])
    assert len(rows.unique(dim=0)) == len(rows) == 25 * 6 + 150 + 300


# ------------------------------------------------------------------------------------------------- the split


@pytest.mark.parametrize("alpha", [0.01, 0.3, 100.0])
def test_the_split_deals_nothing_twice_and_everybody_the_same_number(alpha: float) -> None:
    labels = some_digits().y
    split = dirichlet_split(labels, 7, alpha, seed=1)
    assert split.shape == (7, 600 // 7)
    assert len(split.unique()) == split.numel()
    assert torch.equal(split, dirichlet_split(labels, 7, alpha, seed=1))


def test_a_small_alpha_makes_clients_unlike() -> None:
    labels = some_digits().y
    share = {
        alpha: float(
            torch.nn.functional.one_hot(labels[dirichlet_split(labels, 20, alpha, 1)]).double().mean(1).amax(1).mean()
        )
        for alpha in (0.1, 100.0)
    }
    assert share[0.1] > 0.5
    assert share[100.0] < 0.3


def test_a_client_by_itself_sees_and_learns_as_in_the_federation() -> None:
    federation = Federation(MINIATURE, 3, some_digits())
    federation.train(torch.arange(6))
    everybody = OBSERVER.look(federation)
    for index in range(6):
        client = Client(federation, index, OBSERVER)
        assert client.situation(federation.models[index], federation.server) == everybody[index]
        assert torch.equal(client.data.x, federation.data.x[index])
    first, again, other = (client.train(federation.server, 2, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert losses(first, client.data) < losses(federation.server, client.data)
    assert torch.equal(client.train(federation.server, 0, 1), federation.server)


# ------------------------------------------------------------------------------------------------- the game


def test_situations_by_hand() -> None:
    loss = torch.tensor([0.4, 0.5, 0.99, 1.5, 7.0, 0.1], dtype=torch.float64)
    drift = torch.tensor([0.0, 0.0, 1.9, 0.0, 1.0, 2.0], dtype=torch.float64)
    assert OBSERVER.states(loss, drift).tolist() == [0, 1, 1, 2, 3, 4]
    assert OBSERVER.num_sl == 5


def test_rewards_by_hand_and_within_their_bounds() -> None:
    loss, steps = torch.tensor([0.0, math.log(10) / 2, 50.0], dtype=torch.float64), torch.tensor([0, 4, 16])
    found = local_rewards(loss, steps)
    assert found.tolist() == pytest.approx([1.0, 0.5 - 4 * PRICE_STEP, -16 * PRICE_STEP])
    assert [global_reward(mode) for mode in range(3)] == pytest.approx([0, -PRICE_SHARE / 4, -PRICE_SHARE])


def test_a_log_has_a_row_per_client_and_round_and_fits_together() -> None:
    plan = LogPlan(MINIATURE, episodes=3, pilot=1, rounds=5)
    columns = building.log(plan, OBSERVER, some_digits())
    assert tuple(columns) == COLUMNS
    assert {len(column) for column in columns.values()} == {3 * 5 * 6}
    log = am.Transitions.of({name: column for name, column in columns.items() if name != "agent"})
    assert len(log.first_of_step) == 15
    assert np.array_equal(columns["sg_next"], columns["ag"])
    assert (columns["sg"][columns["step"] == 0] == START).all()
    by_agent = np.lexsort((columns["step"], columns["agent"], columns["episode"]))
    s_l, s_l_next = (columns[name][by_agent].reshape(18, 5) for name in ("sl", "sl_next"))
    assert np.array_equal(s_l[:, 1:], s_l_next[:, :-1])
    assert sha256(columns) == sha256(building.log(plan, OBSERVER, some_digits()))


def test_explorers_share_a_table_and_obey_their_seed() -> None:
    explorer = Explorer(5)
    explorer.begin(4)
    s_l = torch.tensor([0, 3, 3, 0, 4])
    a_l = [explorer.steps(time, 0, s_l) for time in range(5)]
    assert all(answer[0] == answer[3] and answer[1] == answer[2] for answer in a_l)
    explorer.begin(4)
    assert all(torch.equal(explorer.steps(time, 0, s_l), answer) for time, answer in enumerate(a_l))


def test_a_miniature_is_built_like_the_shipped_game(tmp_path: object) -> None:
    plan = LogPlan(MINIATURE, episodes=3, pilot=4, rounds=10)
    fitted, observer, columns = build(plan, some_digits())
    shipped = games.federated()
    sizes = "num_sg", "num_sl", "num_ag", "num_al", "gamma", "name"
    assert [getattr(fitted.game, name) for name in sizes] == [getattr(shipped, name) for name in sizes]
    assert fitted.game.initial.sg.tolist() == shipped.initial.sg.tolist() == [0, 0, 1]
    assert observer.num_sl == shipped.num_sl
    assert len(columns["sg"]) == fitted.counted.rows == 3 * 10 * 6


# ------------------------------------------------------------------------------------------------- the shipped game


def test_the_shipped_game_says_where_it_comes_from() -> None:
    pytest.importorskip("sklearn")  # whose version is told
    told = read_json(PROVENANCE)
    plan = LogPlan(MINIATURE, episodes=1, pilot=4, rounds=10)
    fitted, observer, columns = build(plan, some_digits())
    assert told.keys() == building.provenance(plan, fitted, observer, columns).keys()
    assert told["rows"] == told["plan"]["episodes"] * told["plan"]["rounds"] * told["setting"]["num_clients"]
    assert len(told["log_sha256"]) == 64
    assert np.sum(told["counts"]["P_l"]) == told["rows"]
    assert told["setting"] == asdict(Setting())


def test_the_modes_of_the_shipped_game_follow_the_action() -> None:
    game = games.make("federated", n=50, gamma=0.9)
    assert (game.n, game.gamma) == (50, 0.9)
    torch.testing.assert_close(game.P_g, torch.eye(3).double().expand(3, 3, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(game.r_g, -PRICE_SHARE * torch.tensor(MODES).double()[:, None].expand(3, 3))
    assert float(game.r_l.max()) <= 1
    assert float(game.r_l.min()) >= -PRICE_STEP * max(STEPS)


def test_a_learned_pair_beats_the_best_constant_schedule_in_the_game() -> None:
    game = games.federated()
    solution = am.solve(game, k=6, solver="tabular")
    learned = am.rollout(game, solution, episodes=300, horizon=150, seed=1)
    assert learned.mean - 2 * learned.sem > float(constant_values(game).max())


def test_the_pair_is_put_back_into_a_federation() -> None:
    game, pair = games.federated(), am.solve(games.federated(), k=2, solver="tabular")
    comparison = compare(game, pair, OBSERVER, setting=MINIATURE, seeds=[0, 1], rounds=3, digits=some_digits())
    assert list(comparison.numbers) == [LEARNED, *(schedule.name for schedule in schedules())]
    assert {numbers.shape for numbers in comparison.numbers.values()} == {(2, len(MEASURES))}
    assert len(comparison.promised) == 1 + len(CONSTANT)
    assert comparison.table().count("\n") == 2 + len(schedules())
    assert len(figure(comparison).axes) == 3
    again = play(Federation(MINIATURE, 0, some_digits()), OBSERVER, PairController(pair, OBSERVER), 3)
    assert again.discounted(game.gamma) == comparison.numbers[LEARNED][0, 0]


def test_the_discounted_return_by_hand() -> None:
    run = play(Federation(MINIATURE, 0, some_digits()), OBSERVER, schedules()[4], 3)
    by_hand = sum(0.5**t * (float(run.r_g[t]) + float(run.r_l[t].mean())) for t in range(3))
    assert run.discounted(0.5) == pytest.approx(by_hand)
    assert run.s_g.tolist() == [START, 1, 1, 1]
    assert (run.a_l == 1).all()


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Setting(num_clients=0), "num_clients"),
        (lambda: Setting(alpha=0.0), "alpha"),
        (lambda: Setting(rate=math.nan), "rate"),
        (lambda: Setting(churn=1.5), "churn"),
        (lambda: LogPlan(episodes=0), "episodes"),
        (lambda: Observer(math.nan, (1.0,)), "drift"),
        (lambda: Observer(1.0, (1.0, 1.0)), "ascend"),
        (lambda: dirichlet_split(torch.tensor([0, 1]), 3, 1.0, 0), "2 items cannot be dealt to 3 clients"),
        (lambda: Federation(Setting(num_clients=500), 0, some_digits()), "cannot be dealt"),
        (lambda: Client(Federation(MINIATURE, 0, some_digits()), 6, OBSERVER), "index"),
        (lambda: PairController(am.solve(games.warehouse(), k=1, solver="tabular"), OBSERVER), "federated game has"),
    ],
)
def test_what_makes_no_federation_is_refused(call: object, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        call()  # type: ignore[operator]


def test_a_pilot_that_saw_too_little_is_refused() -> None:
    with pytest.raises(ArgumentError, match="run more"):
        build(LogPlan(Setting(num_clients=1, churn=0.0), episodes=1, pilot=1, rounds=1), some_digits())


def test_a_file_that_is_no_provenance_is_refused(tmp_path: object) -> None:
    path = tmp_path / "game.json"  # type: ignore[operator]
    write_json(path, {"format": "altmarl-federated", "version": 1, "thresholds": {"drift": 1}})
    with pytest.raises(FileFormatError, match="no provenance"):
        read_setup(path)
    write_json(path, {"thresholds": {"drift": 1}})
    with pytest.raises(FileFormatError, match=r"format and version are .*, not \(None, None\)"):
        read_setup(path)


def test_the_commands_refuse_in_words(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "nothing.npz")]) == 2  # type: ignore[operator]
    assert main(["rebuild", "--out", "game.csv"]) == 2
    said = capsys.readouterr().err
    assert "nothing.npz" in said
    assert "must end in .npz" in said


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ArgumentError, match=r"altmarl-torch\[federated\]"):
        simulation.load_digits()


# ------------------------------------------------------------------------------------------------- the real digits


def test_federated_averaging_learns_to_read(tmp_path: object) -> None:
    pytest.importorskip("sklearn")
    federation = Federation(Setting(num_clients=20), 0)
    assert len(federation.probe) + len(federation.validation) + len(federation.data.y.flatten()) == 1790
    for _ in range(15):
        federation.round(torch.full((20,), 16), 1.0)
    assert federation.accuracy() > 0.85


def test_a_miniature_of_the_real_thing_is_written_and_read(tmp_path: object) -> None:
    pytest.importorskip("sklearn")
    plan = LogPlan(MINIATURE, episodes=2, pilot=4, rounds=10)
    fitted, observer, columns = build(plan)
    path = tmp_path / "game.npz"  # type: ignore[operator]
    write(path, plan, fitted, observer, columns)
    assert torch.equal(am.Game.load(path).P_l, fitted.game.P_l)
    assert read_setup(path.with_suffix(".json")) == (observer, MINIATURE)


def test_the_yardstick_alternates() -> None:
    """It is the schedule "every 2" of the comparison, as a pair of the game."""
    pair = yardsticks(federated(), 3)["alternate + alternate"]
    play, every = pair.dispatcher(), next(one for one in schedules() if one.name == "every 2")
    s_g = 2
    for time in range(6):
        assert (pair.pi_l[:, s_g].argmax(-1) == every.a_l(time)).all()
        s_g = int(play.act([s_g], [[3, 0, 0, 0, 0]]))
        assert s_g == every.a_g(time)
