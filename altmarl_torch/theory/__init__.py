"""The paper's schedules and bounds, one function for each numbered statement.

    schedules    T, N_steps, H, Xi: how often and how far
    gaps         eta and the gaps: how far from a best response
    noise        Lipschitz constants, deviations of samples, the Bellman noise and its draws
    sizes        tables and chains
    ucfh         the constants of the learner behind L-LEARN
    complexity   samples and running times, most of them orders without constants

Statements that differ only in their constants stay apart (`docs/differences-from-the-paper.md`, row 14). A name is the
quantity and the statement, `eta_theorem_4_8`; a statement that says several things at once gives its own name to a
function that returns them all, `lemma_b36`. Each takes the game and k where these are enough; rates are keywords.

Formulas are **as printed**, also where the print disagrees with its siblings or its proof. The docstring then says so,
and `docs/bounds.md` collects these places. The one exception carries it in its name: `noise_lemma_b35_corrected`.

In formulas, r~ = max|r_g| + max|r_l|, |r_l| is max|r_l|, V_max = r~/(1-gamma); `log` and `ln` are natural.
"""

from altmarl_torch.theory.complexity import (
    LemmaB36,
    TheoremC3,
    approximation_corollary_e6,
    error_theorem_e4,
    lemma_b36,
    runtime_theorem_c4,
    samples_corollary_e5,
    samples_lemma_b36,
    samples_theorem_4_4,
    samples_theorem_4_6,
    samples_theorem_4_8,
    samples_theorem_c4,
    samples_theorem_d17,
    theorem_c3,
)
from altmarl_torch.theory.gaps import (
    eta_algorithm_3,
    eta_theorem_4_8,
    eta_theorem_d17,
    gap_corollary_b33,
    gap_corollary_b37,
    gap_corollary_e7,
    gap_theorem_4_2,
    gap_theorem_4_4,
    gap_theorem_b16,
    gap_theorem_b30,
    gap_theorem_e2,
)
from altmarl_torch.theory.noise import (
    ByForm,
    approximation_theorem_b27,
    confidence_theorem_b26,
    deviation_theorem_b26,
    draws_corollary_b37,
    draws_lemma_4_3,
    draws_lemma_b36,
    error_corollary_b11,
    lipschitz_proposition_e3,
    lipschitz_theorem_b18,
    noise_lemma_b35,
    noise_lemma_b35_corrected,
    value_bound_lemma_b4,
)
from altmarl_torch.theory.schedules import (
    horizon_algorithm_2,
    horizon_lemma_c1,
    micro_horizon_algorithm_8,
    micro_horizon_algorithm_9,
    steps_lemma_d16,
    steps_table_2,
    steps_theorem_4_8,
    sweeps_algorithm_3,
    truncation_lemma_c1,
    xi_lemma_f4,
)
from altmarl_torch.theory.sizes import (
    count_vectors,
    count_vectors_algorithm_1,
    q_entries_counts,
    q_entries_lemma_b36,
    q_entries_tuples,
    states_algorithm_8,
    states_algorithm_8_reachable,
    states_algorithm_9,
    states_algorithm_9_literal,
    states_algorithm_9_reduced,
    states_theorem_c4_counts,
    states_theorem_c4_tuples,
    transitions_algorithm_8_reachable,
    transitions_algorithm_9_literal,
    transitions_algorithm_9_reduced,
)
from altmarl_torch.theory.ucfh import Algorithm5, algorithm_5

__all__ = [
    "Algorithm5",
    "ByForm",
    "LemmaB36",
    "TheoremC3",
    "algorithm_5",
    "approximation_corollary_e6",
    "approximation_theorem_b27",
    "confidence_theorem_b26",
    "count_vectors",
    "count_vectors_algorithm_1",
    "deviation_theorem_b26",
    "draws_corollary_b37",
    "draws_lemma_4_3",
    "draws_lemma_b36",
    "error_corollary_b11",
    "error_theorem_e4",
    "eta_algorithm_3",
    "eta_theorem_4_8",
    "eta_theorem_d17",
    "gap_corollary_b33",
    "gap_corollary_b37",
    "gap_corollary_e7",
    "gap_theorem_4_2",
    "gap_theorem_4_4",
    "gap_theorem_b16",
    "gap_theorem_b30",
    "gap_theorem_e2",
    "horizon_algorithm_2",
    "horizon_lemma_c1",
    "lemma_b36",
    "lipschitz_proposition_e3",
    "lipschitz_theorem_b18",
    "micro_horizon_algorithm_8",
    "micro_horizon_algorithm_9",
    "noise_lemma_b35",
    "noise_lemma_b35_corrected",
    "q_entries_counts",
    "q_entries_lemma_b36",
    "q_entries_tuples",
    "runtime_theorem_c4",
    "samples_corollary_e5",
    "samples_lemma_b36",
    "samples_theorem_4_4",
    "samples_theorem_4_6",
    "samples_theorem_4_8",
    "samples_theorem_c4",
    "samples_theorem_d17",
    "states_algorithm_8",
    "states_algorithm_8_reachable",
    "states_algorithm_9",
    "states_algorithm_9_literal",
    "states_algorithm_9_reduced",
    "states_theorem_c4_counts",
    "states_theorem_c4_tuples",
    "steps_lemma_d16",
    "steps_table_2",
    "steps_theorem_4_8",
    "sweeps_algorithm_3",
    "theorem_c3",
    "transitions_algorithm_8_reachable",
    "transitions_algorithm_9_literal",
    "transitions_algorithm_9_reduced",
    "truncation_lemma_c1",
    "value_bound_lemma_b4",
    "xi_lemma_f4",
]
