"""The rows of `altmarl bounds`: every statement of `altmarl_torch.theory`, with the limit that makes it vacuous."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from altmarl_torch import theory
from altmarl_torch.games.game import Game

__all__ = ["Formula", "Statement", "statements"]

Formula = Callable[[Game, int], float]
"""A number of a game at one k."""


@dataclass(frozen=True)
class Statement:
    """One row of the table."""

    group: str
    name: str  # function of `theory`, with the part or parameterization where it returns several
    formula: Formula
    limit: float | None = None  # the largest value that makes sense
    order: bool = False  # without constants and logarithms
    grows: bool = False  # with k: a bound that says nothing at k = 1 never does


def statements(game: Game, m: int, delta: float) -> list[Statement]:
    """Every row, in the order of the table."""
    return [*_schedules(), *_tolerances(game, delta), *_noise(game, m, delta), *_samples(delta), *_sizes()]


def _schedules() -> list[Statement]:
    group = "schedules"
    return [
        Statement(group, "sweeps_algorithm_3", theory.sweeps_algorithm_3),
        Statement(group, "steps_theorem_4_8", theory.steps_theorem_4_8),
        Statement(
            group,
            "steps_lemma_d16, eta of D.17",
            lambda game, k: theory.steps_lemma_d16(game, k, eta=theory.eta_theorem_d17(game, k)),
        ),
        Statement(group, "steps_table_2", lambda game, k: theory.steps_table_2()),
        Statement(group, "horizon_algorithm_2", theory.horizon_algorithm_2),
        Statement(group, "micro_horizon_algorithm_8", theory.micro_horizon_algorithm_8),
        Statement(group, "micro_horizon_algorithm_9", theory.micro_horizon_algorithm_9),
        Statement(group, "xi_lemma_f4", theory.xi_lemma_f4),
        *_by_form(group, "draws_lemma_4_3", theory.draws_lemma_4_3, order=True),
        *_by_form(group, "draws_lemma_b36", theory.draws_lemma_b36),
        *_by_form(group, "draws_corollary_b37", theory.draws_corollary_b37),
    ]


def _tolerances(game: Game, delta: float) -> list[Statement]:
    """eta, and the gaps at a Bellman noise of zero, that is for exact expectations."""
    etas = theory.eta_algorithm_3, theory.eta_theorem_4_8, theory.eta_theorem_d17
    gaps = (
        theory.gap_theorem_4_2,
        theory.gap_theorem_b16,
        theory.gap_corollary_b33,
        theory.gap_corollary_b37,
        theory.gap_theorem_e2,
        theory.gap_corollary_e7,
    )
    group = "gaps, without Bellman noise except B.37"
    return [
        *(Statement("tolerances", eta.__name__, eta, game.v_max / 2) for eta in etas),
        *(Statement(group, gap.__name__, gap, game.v_max) for gap in gaps),
        Statement(group, "gap_theorem_b30", lambda game, k: theory.gap_theorem_b30(game, k, delta=delta), game.v_max),
        Statement(group, "gap_theorem_4_4", theory.gap_theorem_4_4, order=True),
    ]


def _noise(game: Game, m: int, delta: float) -> list[Statement]:
    group, largest = "noise and deviations", game.v_max

    def printed(game: Game, k: int) -> theory.ByForm:
        return theory.noise_lemma_b35(game, k, m=m, rho=delta)

    def corrected(game: Game, k: int) -> theory.ByForm:
        return theory.noise_lemma_b35_corrected(game, k, m=m, rho=delta)

    return [
        *_by_form(group, "noise_lemma_b35", printed, largest, grows=True),
        *_by_form(group, "noise_lemma_b35_corrected", corrected, largest, grows=True),
        Statement(
            group, "deviation_theorem_b26", lambda game, k: theory.deviation_theorem_b26(game, k, delta=delta), 1.0
        ),
        Statement(
            group,
            "approximation_theorem_b27",
            lambda game, k: theory.approximation_theorem_b27(game, k, delta=delta),
            largest,
        ),
        Statement(
            group,
            "approximation_corollary_e6",
            lambda game, k: theory.approximation_corollary_e6(game, k, delta=delta),
            largest,
        ),
        Statement(group, "value_bound_lemma_b4", lambda game, k: theory.value_bound_lemma_b4(game)),
        Statement(group, "lipschitz_theorem_b18", lambda game, k: theory.lipschitz_theorem_b18(game)),
        Statement(group, "lipschitz_proposition_e3", lambda game, k: theory.lipschitz_proposition_e3(game)),
        Statement(
            group,
            "error_corollary_b11, T sweeps",
            lambda game, k: theory.error_corollary_b11(game, sweeps=theory.sweeps_algorithm_3(game, k)),
        ),
        Statement(
            group,
            "truncation_lemma_c1, H steps",
            lambda game, k: theory.truncation_lemma_c1(game, steps=theory.horizon_algorithm_2(game, k)),
        ),
    ]


def _samples(delta: float) -> list[Statement]:
    """L-LEARN's at epsilon = 1/sqrt(k), as Algorithm 2 asks; C.3's on the reachable chain of Algorithm 8."""
    group = "samples"

    def local(formula: Callable[..., int]) -> Formula:
        return lambda game, k: formula(game, k, epsilon=1 / math.sqrt(k), delta=delta)

    def runtime(game: Game, k: int) -> theory.ByForm:
        return theory.runtime_theorem_c4(game, k, epsilon=1 / math.sqrt(k), delta=delta)

    def episodes(game: Game, k: int) -> int:
        size, steps = theory.states_algorithm_8_reachable(game, k), theory.micro_horizon_algorithm_8(game, k)
        return theory.theorem_c3(size, game.num_al, steps, epsilon=1 / math.sqrt(k), delta=delta).episodes

    return [
        Statement(group, "samples_lemma_b36", theory.samples_lemma_b36),
        *_by_form(group, "samples_theorem_4_4", theory.samples_theorem_4_4, order=True),
        Statement(group, "samples_theorem_4_6", local(theory.samples_theorem_4_6), order=True),
        Statement(group, "samples_theorem_c4", local(theory.samples_theorem_c4), order=True),
        *_by_form(group, "runtime_theorem_c4", runtime, order=True),
        Statement(group, "theorem_c3, episodes", episodes, order=True),
        Statement(
            group,
            "samples_theorem_4_8",
            lambda game, k: theory.samples_theorem_4_8(game, k, delta=delta),
            order=True,
        ),
        Statement(
            group,
            "samples_theorem_d17",
            lambda game, k: theory.samples_theorem_d17(game, k, delta=delta),
            order=True,
        ),
        Statement(group, "samples_corollary_e5", theory.samples_corollary_e5, order=True),
    ]


def _sizes() -> list[Statement]:
    sizes = (
        theory.q_entries_tuples,
        theory.q_entries_counts,
        theory.q_entries_lemma_b36,
        theory.count_vectors,
        theory.count_vectors_algorithm_1,
        theory.states_algorithm_8,
        theory.states_algorithm_8_reachable,
        theory.states_theorem_c4_tuples,
        theory.states_algorithm_9,
        theory.states_algorithm_9_literal,
        theory.states_algorithm_9_reduced,
        theory.transitions_algorithm_8_reachable,
        theory.transitions_algorithm_9_literal,
        theory.transitions_algorithm_9_reduced,
        theory.states_theorem_c4_counts,
    )
    return [Statement("sizes", size.__name__, size) for size in sizes]


def _by_form(
    group: str,
    name: str,
    formula: Callable[[Game, int], theory.ByForm],
    limit: float | None = None,
    order: bool = False,
    grows: bool = False,
) -> list[Statement]:
    """One row for tuples and one for counts."""

    def part(index: int) -> Formula:
        return lambda game, k: formula(game, k)[index]

    forms = enumerate(theory.ByForm._fields)
    return [Statement(group, f"{name}, {form}", part(index), limit, order, grows) for index, form in forms]
