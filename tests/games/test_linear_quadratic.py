"""The closed forms of the linear-quadratic game, against each other, direct search, and numbers derived by hand."""

import pytest
from scipy.optimize import minimize

from altmarl_torch.games.named.linear_quadratic import LinearGains, LinearQuadratic, Tracking

GAME = LinearQuadratic()


def test_without_control():
    assert GAME.value(LinearGains(), 20, 20) == pytest.approx(-47.9532, abs=1e-4)


@pytest.mark.parametrize(("k", "promised", "earned"), [(2, -18.7226, -33.1466), (5, -23.05847, -28.81073)])
def test_the_surrogates_best_gain_promises_more_than_it_earns(k, promised, earned):
    gain = LinearGains(0, 0, *GAME.global_response(0, 0))
    assert gain[2:] == pytest.approx((-0.74335536, 0.76923732), abs=1e-7)
    assert GAME.value(gain, k, k) == pytest.approx(promised, abs=1e-4)
    assert GAME.value(gain, 1000, k) == pytest.approx(earned, abs=1e-4)


def search(values, start):
    return minimize(lambda x: -values(*x), start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-11}).x


def test_riccati_gains_are_where_direct_search_ends():
    found = search(lambda f_m, f_y: GAME.value(LinearGains(0.3, -0.2, f_m, f_y), 5, 5), (-0.5, 0.5))
    assert found == pytest.approx(GAME.global_response(0.3, -0.2), abs=1e-4)
    found = search(lambda K, L: GAME.value(LinearGains(K, L, 0, 0.3), 7, 2), (0.5, -0.5))
    assert found == pytest.approx(GAME.local_response(0.3), abs=1e-4)
    assert GAME.local_response(0.3) == pytest.approx((0.88674409, -0.42740065), abs=1e-7)


def test_what_grows_for_ever_costs_everything():
    assert GAME.value(LinearGains(K=-1.0), 20, 20) == -float("inf")


@pytest.mark.parametrize(
    ("k", "gain", "cost", "naive", "kalman"),
    [(1, 0.34593, 10.567, 22.982, 6.6915), (5, 0.61364, 6.3212, 7.782, 4.5834), (20, 0.82967, 4.7734, 4.932, 4.1469)],
)
def test_tracking(k, gain, cost, naive, kalman):
    tracking = Tracking(k=k)
    assert tracking.best_gain == pytest.approx(gain, abs=1e-5)
    assert tracking.cost(tracking.best_gain) == pytest.approx(cost, abs=1e-3)
    assert tracking.cost(1.0) == pytest.approx(naive, abs=1e-3)
    assert tracking.kalman_cost == pytest.approx(kalman, abs=1e-4)
