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

from altmarl_torch.theory import complexity, gaps, noise, schedules, sizes, ucfh
from altmarl_torch.theory.complexity import *
from altmarl_torch.theory.gaps import *
from altmarl_torch.theory.noise import *
from altmarl_torch.theory.schedules import *
from altmarl_torch.theory.sizes import *
from altmarl_torch.theory.ucfh import *

__all__: list[str] = []
__all__ += complexity.__all__
__all__ += gaps.__all__
__all__ += noise.__all__
__all__ += schedules.__all__
__all__ += sizes.__all__
__all__ += ucfh.__all__
