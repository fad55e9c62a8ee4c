"""What a run says when it is over: how the learned pair compares with the best rule, why, and what to try instead."""

from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.measuring import Measurement
from altmarl_torch.support.intervals import Difference

__all__ = ["advice", "comparison_text"]


def comparison_text(config: TrainConfig, measured: Measurement, otherwise: str = "") -> str:
    """One line on the learned pair and the best rule; where the rule earns more, why, and what does better.

    `otherwise` says that instead of `advice`.
    """
    rule, lead = measured.best_rule, measured.lead
    if rule is None or lead is None:
        return ""
    if lead.low > 0:
        return f"learned earns {_margin(lead)} more than the best rule ({rule})"
    if lead.high >= 0:
        return f"learned and the best rule ({rule}) earn the same: they differ by {_margin(lead)}"
    less = Difference(-lead.mean, lead.sem, -lead.high, -lead.low, lead.level)
    return f"{rule} earns {_margin(less)} more than what was learned: {otherwise or advice(config)}"


def _margin(difference: Difference) -> str:
    """A mean with its interval."""
    level = f"{100 * difference.level:.0f} % interval"
    return f"{difference.mean:.3g} ({level} {difference.low:.3g} to {difference.high:.3g}, on the same episodes)"


def advice(config: TrainConfig) -> str:
    """Why a rule may earn more than what these options find, and the option that does better."""
    if config.from_data is not None:
        return (
            "from data the dispatcher alone is learned, the local policy stays as it was logged; "
            f"`altmarl fit {config.from_data} --k {config.k}` learns both from the same file"
        )
    if config.observation == "surrogate":
        return (
            f"the {config.k}-agent surrogate takes its sample for the population and chases its noise; "
            "--observation filter remembers earlier samples, and --select rollout never keeps less than a rule earns"
        )
    if config.select == "value":
        return "--select rollout plays every candidate on n agents, the rules among them, and keeps the best"
    return f"the alternation ends at an equilibrium, and there are poor ones; --starts {config.starts + 4} tries others"
