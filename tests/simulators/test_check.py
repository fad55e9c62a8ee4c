"""A wrong simulator is named in one line, and a right one is left in peace."""

import random

import numpy as np
import pytest
import torch

import altmarl_torch as am


def start(episodes, n, generator):
    return torch.zeros(episodes, 1), torch.rand(episodes, n, 1, generator=generator)


def move_g(s_g, a_g, generator):
    return (0.9 * s_g + 0.01 * a_g.unsqueeze(-1)).clamp(0, 1)


def move_l(s_l, s_g, a_l, generator):
    return (s_l + 0.1 * torch.randn(s_l.shape, generator=generator)).clamp(0, 1)


def r_g(s_g, a_g):
    return s_g.squeeze(-1) + a_g


def r_l(s_l, s_g, a_l):
    return -(s_l - s_g).abs().squeeze(-1) - a_l


def build(**changes):
    fields = {"start": start, "move_g": move_g, "move_l": move_l, "r_g": r_g, "r_l": r_l, "gamma": 0.9, "n": 100}
    fields |= {"global_state": am.Box(0, 1), "local_state": am.Box(0, 1)}
    fields |= {"global_action": am.Discrete(2), "local_action": am.Discrete(3)}
    return am.SimulatedGame(**(fields | changes))


def in_place(s_l, s_g, a_l, generator):
    return s_l.mul_(0.5)


WRONG = {
    "global generator of torch": (
        {"move_l": lambda s, g, a, gen: (s + torch.randn(s.shape)).clamp(0, 1)},
        "torch's global",
    ),
    "of numpy": ({"move_g": lambda s, a, gen: s * float(np.random.rand())}, "numpy's global"),  # noqa: NPY002
    "of Python": ({"move_g": lambda s, a, gen: s * random.random()}, "Python's global"),
    "a reward that broadcasts": (
        {"r_l": lambda s, g, a: -(s - g).abs()},
        r"r_l returned shape \[4, 6, 1\]; expected \[4, 6\]",
    ),
    "a global reward per feature": ({"r_g": lambda s, a: s}, r"r_g returned shape \[4, 1\]"),
    "the crowd's mean": (
        {"move_l": lambda s, g, a, gen: s - 0.1 * (s - s.mean(-2, keepdim=True))},
        "depend on each other",
    ),
    "the crowd's mean, counted in tiny units": (
        {
            "start": lambda e, n, gen: (torch.zeros(e, 1), 1e-6 * torch.rand(e, n, 1, generator=gen)),
            "move_l": lambda s, g, a, gen: s - 0.1 * (s - s.mean(-2, keepdim=True)),
            "local_state": am.Box(0, 1e-6),
        },
        "depend on each other",
    ),
    "rewards of the crowd": ({"r_l": lambda s, g, a: s.squeeze(-1) / s.sum()}, "depend"),
    "luck that is shared": (
        {"move_l": lambda s, g, a, gen: (s + torch.rand(s.shape[0], *[1] * (s.ndim - 1), generator=gen)).clamp(0, 1)},
        "one number for all agents",
    ),
    "another device": ({"move_g": lambda s, a, gen: s.to("meta")}, "on meta; its arguments lie on cpu"),
    "double precision": ({"move_g": lambda s, a, gen: s.double()}, "float64"),
    "arguments changed": ({"move_l": in_place}, "in place"),
    "an exception": ({"r_g": lambda s, a: s @ s}, r"r_g raised RuntimeError for arguments \[4, 1\], \[4\]"),
    "a lost dimension": (
        {"move_g": lambda s, a, gen: s.squeeze(-1)},
        r"move_g returned shape \[4\]; expected \[4, 1\]",
    ),
    "one leading dimension too few": ({"r_l": lambda s, g, a: -s[:, :, 0]}, "r_l"),
    "outside the box": (
        {"move_g": lambda s, a, gen: s + 2},
        r"s_g\[0, 0\] is 2 at step 0, after move_g; its space is Box",
    ),
    "no function": ({"r_g": 3}, "r_g must be a function, not int"),
    "no space": ({"local_state": 3}, "local_state must be a Box or a Discrete"),
    "a start of one tensor": ({"start": lambda e, n, gen: torch.zeros(e, 1)}, "start must return two tensors"),
    "gamma": ({"gamma": 1.0}, "gamma"),
}


def test_a_right_simulator_passes():
    am.check_simulator(build())
    am.check_simulator(am.games.continuous_warehouse())


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(case):
    changes, message = WRONG[case]
    with pytest.raises(am.GameError, match=message) as told:
        build(**changes)
    assert "\n" not in str(told.value)


def aging(after, value):
    """Moves that count their steps in the state, and rewards that go wrong late."""

    def late(s_g, a_g):
        return torch.where(s_g.squeeze(-1) > after, torch.tensor(value), torch.tensor(1.0))

    return build(
        move_g=lambda s_g, a_g, generator: s_g + 1, r_g=late, global_state=am.Box(0, float("inf")), name="aging"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e31])
def test_what_goes_wrong_late_is_found_by_the_check_and_by_a_run(value):
    game = aging(29.5, value)
    with pytest.raises(am.GameError, match=r"r_g.* at step 30"):
        am.check_simulator(game)
    with pytest.raises(am.GameError, match=r"r_g.* at step 30; rewards must be finite"):
        am.rollout(game, am.simulators.uniform_pair(game, 2), episodes=3, horizon=50)


def test_gymnasiums_spaces_are_taken_by_their_attributes():
    class Theirs:
        def __init__(self, **attributes):
            vars(self).update(attributes)

    game = build(global_action=Theirs(n=2, start=0), local_state=Theirs(low=np.zeros(1), high=np.ones(1), shape=(1,)))
    assert game.global_action == am.Discrete(2)
    assert game.local_state.is_bounded
    with pytest.raises(am.GameError, match="begins at 1"):
        build(global_action=Theirs(n=2, start=1))
