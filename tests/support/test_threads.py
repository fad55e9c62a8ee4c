"""Threads are set once a call, whatever is called within, and are what they were afterwards."""

import threading
from unittest import mock

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.support.threads import one_thread, run


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_a_block_within_a_block_sets_nothing(two_threads):
    with mock.patch.object(torch, "set_num_threads", wraps=torch.set_num_threads) as calls:
        with one_thread():
            with one_thread():
                assert torch.get_num_threads() == 1
                assert run(lambda x: (x, torch.get_num_threads()), range(3)) == [(0, 1), (1, 1), (2, 1)]
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    assert [call.args for call in calls.call_args_list] == [(1,), (2,)]


def test_a_block_keeps_its_workers_and_leaves_none(two_threads):
    before = threading.active_count()
    with one_thread():
        who = {thread for _ in range(5) for thread in run(lambda _: threading.get_ident(), range(4))}
        assert 1 <= len(who) <= 2
        assert threading.get_ident() not in who
        with pytest.raises(ZeroDivisionError):
            run(lambda x: 1 / x, range(3))
        assert run(lambda x: x + 1, range(3)) == [1, 2, 3]
    assert threading.active_count() == before


def test_the_threads_are_given_back_after_an_error(two_threads):
    with pytest.raises(ZeroDivisionError), one_thread(), one_thread():
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2


def test_a_solve_sets_threads_a_few_times(two_threads):
    with mock.patch.object(torch, "set_num_threads", wraps=torch.set_num_threads) as calls:
        am.solve(am.games.steer(), 3)
    assert len(calls.call_args_list) <= 20
