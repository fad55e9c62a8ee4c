"""Trajectories to Minari and back: to the bit, and what is wrong with a data set is one line."""

import numpy as np
import pytest

pytest.importorskip("minari")
pytest.importorskip("h5py")

import minari
from gymnasium import spaces

import altmarl_torch as am

DATA = am.collect(am.games.steer(n=30), 3, explore=0.3, steps=7, trajectories=4, seed=2)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def test_there_and_back_to_the_bit():
    made = DATA.to_minari("altmarl/steer-v0", author="somebody")
    assert (made.total_episodes, made.total_steps) == (4, 28)
    for again in (am.Trajectories.from_minari(made), am.Trajectories.from_minari("altmarl/steer-v0")):
        for name in ("s_g", "s_l", "a_g", "a_l", "r_g", "r_l"):
            assert np.array_equal(getattr(again, name), getattr(DATA, name))
        for name in ("gamma", "n", "num_sg", "num_sl", "num_ag", "num_al", "name", "behaviour"):
            assert getattr(again, name) == getattr(DATA, name)
    assert am.Trajectories.from_minari(made, gamma=0.5, n=99).n == 99


def test_minari_sees_what_was_earned_and_who_did_what():
    episode = next(iter(DATA.to_minari("altmarl/steer-v0").iterate_episodes()))
    assert np.array_equal(episode.rewards, DATA.rewards[0])
    assert episode.truncations.tolist() == [False] * 6 + [True]
    assert not episode.terminations.any()
    assert episode.observations["s_l"].shape == (8, 3)
    assert episode.actions["a_l"].shape == (7, 3)


def test_a_name_is_used_once_and_an_unknown_one_is_named():
    DATA.to_minari("altmarl/steer-v0")
    with pytest.raises(am.ArgumentError, match=r"there is a data set 'altmarl/steer-v0' already"):
        DATA.to_minari("altmarl/steer-v0")
    with pytest.raises(am.ArgumentError, match=r"no local data set 'altmarl/other-v0'"):
        am.Trajectories.from_minari("altmarl/other-v0")
    with pytest.raises(am.ArgumentError, match="Minari makes no data set 'no version'"):
        DATA.to_minari("no version")


def foreign(lengths=(3, 3), infos=True, state=1, observed=None):
    """A data set by other hands, two agents with two states and actions each."""
    two = spaces.MultiDiscrete([2, 2])
    observed = observed or spaces.Dict({"s_g": spaces.Discrete(2), "s_l": two})
    buffers = []
    for number, steps in enumerate(lengths):
        seen = {"s_g": np.full(steps + 1, state), "s_l": np.zeros((steps + 1, 2), int)}
        if "s_g" not in observed.spaces:
            seen = {"x": np.zeros((steps + 1, 1), np.float32)}
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                id=number,
                observations=seen,
                actions={"a_g": np.zeros(steps, int), "a_l": np.zeros((steps, 2), int)},
                rewards=np.ones(steps),
                terminations=np.zeros(steps, bool),
                truncations=np.arange(steps) == steps - 1,
                infos={"r_g": np.ones(steps + 1), "r_l": np.ones((steps + 1, 2))} if infos else {},
            )
        )
    done = spaces.Dict({"a_g": spaces.Discrete(2), "a_l": two})
    return minari.create_dataset_from_buffers(
        "other/hand-v0", buffers, observation_space=observed, action_space=done, data_format="hdf5"
    )


def test_a_data_set_by_other_hands_is_told_gamma_and_n():
    found = am.Trajectories.from_minari(foreign(), gamma=0.9, n=10)
    assert (found.k, found.n, found.gamma, found.trajectories, found.steps) == (2, 10, 0.9, 2, 3)
    with pytest.raises(am.ArgumentError, match="does not say gamma and n"):
        am.Trajectories.from_minari("other/hand-v0")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"lengths": (3, 2)}, "episodes of 2 to 3 steps"),
        ({"infos": False}, "lacks infos r_g, r_l"),
        ({"state": 2}, r"s_g\[0, 0\] is 2"),
        ({"observed": spaces.Dict({"x": spaces.Box(0, 1, (1,), np.float32)})}, "expected a Dict of s_g"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_one_line(wrong, words):
    with pytest.raises(am.ArgumentError, match=words) as caught:
        am.Trajectories.from_minari(foreign(**wrong), gamma=0.9, n=10)
    assert "\n" not in str(caught.value)
