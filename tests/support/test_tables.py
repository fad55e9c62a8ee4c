"""Reading at the door: masks are no numbers, and a law written by a person is a law."""

import logging

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.support.tables import as_float64, as_law, as_table

GAME = am.games.steer()


def masked(shape, where):
    table = np.ma.masked_array(np.full(shape, 0.5), mask=np.zeros(shape, bool))
    table[where] = np.ma.masked
    return table


@pytest.mark.parametrize("name", ["P_g", "P_l", "r_g", "r_l"])
@pytest.mark.parametrize("nested", [False, True])
def test_masked_tables_are_refused_with_the_entry(name, nested):
    table = masked(tuple(getattr(GAME, name).shape), (0,) * getattr(GAME, name).ndim)
    with pytest.raises(GameError, match=rf"{name}\[0.*is masked"):
        GAME.replace(**{name: list(table) if nested else table})


def test_masked_arrays_without_a_masked_entry_are_arrays():
    table = np.ma.masked_array(GAME.r_g.numpy(), mask=False)
    assert torch.equal(GAME.replace(r_g=table).r_g, GAME.r_g)


@pytest.mark.parametrize(
    "call",
    [
        lambda table: am.InitialLaw(table, [1.0, 0.0]),
        lambda table: GAME.induced(table),
        lambda table: am.CountKernel(table, 3),
        lambda table: am.rewards.DiscreteReward(table, table),
        lambda table: am.with_types([GAME, GAME], table),
        lambda table: am.solve(GAME, 2, observation="posterior", alpha=table),
        lambda table: am.solve(GAME, 2).dispatcher().act(table, [[1, 1]]),
    ],
)
def test_masks_are_refused_at_every_door(call):
    with pytest.raises(am.AltMarlError, match="masked"):
        call(masked((2,), (1,)))


@pytest.mark.parametrize("array", ["s_g", "s_l", "a_g", "a_l", "r_g", "r_l"])
def test_masked_trajectories_are_refused_and_whole_floats_are_read(array):
    data = am.collect(GAME, 2, steps=3, trajectories=2, seed=0)
    arrays = {name: getattr(data, name) for name in ("s_g", "s_l", "a_g", "a_l", "r_g", "r_l")}
    rest = {name: getattr(data, name) for name in ("gamma", "n", "num_sg", "num_sl", "num_ag", "num_al")}
    again = am.Trajectories(**arrays | {array: arrays[array].astype(float)}, **rest)
    assert np.array_equal(getattr(again, array), arrays[array])
    assert getattr(again, array).dtype == arrays[array].dtype
    hidden = np.ma.masked_array(arrays[array], mask=np.zeros(arrays[array].shape, bool))
    hidden[(0,) * hidden.ndim] = np.ma.masked
    with pytest.raises(ArgumentError, match=rf"{array}\[0.*is masked"):
        am.Trajectories(**arrays | {array: hidden}, **rest)


def test_a_law_written_by_a_person_is_a_law(caplog):
    read = as_law("law", as_table("law", [0.9, 0.1, 1 - 0.9 - 0.1], "x"), "x")
    assert read.tolist() == [0.9, 0.1, 0.0]
    with caplog.at_level(logging.WARNING):
        rows = np.round(np.random.default_rng(0).dirichlet(np.ones(40), 200), 6)
        law = as_law("P", as_table("P", rows, "x y"), "x y")
    assert float((law.sum(-1) - 1).abs().max()) < 1e-14
    assert [record.message.split(" miss")[0] for record in caplog.records] == ["rows of P"]
    with pytest.raises(GameError, match=r"law sums to 0\.9999; .*within 1e-05"):
        as_law("law", as_table("law", [0.5, 0.4999], "x"), "x")
    with pytest.raises(GameError, match=r"is -1e-06; probabilities are non-negative"):
        as_law("law", as_table("law", [1.000001, -1e-6], "x"), "x")


def test_float32_laws_are_read_without_a_word(caplog):
    with caplog.at_level(logging.WARNING):
        as_law("P", as_float64("P", np.full((3, 7), 1 / 7, np.float32), GameError), "x y")
    assert not caplog.records
