"""One solver on one problem in a process of its own, for `peers.py`: nothing but NumPy and the solver.

    python benchmarks/peer_solvers.py ours|build|quantecon|mdpsolver|storm|mfglib FOLDER

FOLDER holds `pi_l.npy` and `told.json` (the game's name, k, gamma, the error to reach, whether Storm's file is wanted);
`build` writes `P.npy` and `r.npy` there, which the peers read. Values go to `NAME.npy`; printed is one line of JSON:
seconds on the clock and of the processor (reading of arrays, imports and a first small problem apart), what is
proven, and the process's peak of memory in MB. `mfglib` reads `game.npz` (P_l, r_l and the agents' first law) in place
of these, and leaves its policy `[sl, sg, al]`.
"""

import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def ours(folder, told):
    """G-LEARN, with the kernels of the counts; P is never listed."""
    import torch

    import altmarl_torch as am
    from altmarl_torch.counts.pair_moves import PairPlan
    from altmarl_torch.operators.surrogate import Surrogate
    from altmarl_torch.tabular import g_learn

    def work(game, pi_l, k):
        return g_learn(Surrogate.build(game, pi_l, PairPlan(am.CountSimplex(k, game.num_sl))))

    warm = am.games.steer()
    work(warm, am.policies.uniform_local(warm), 3)
    game, pi_l = am.games.make(told["game"]), torch.from_numpy(np.load(folder / "pi_l.npy"))
    found, spent = timed(lambda: work(game, pi_l, told["k"]))
    return found.values.flatten().numpy(), spent, f"error at most {found.error:.1g}", {"error": found.error}


def build(folder, told):
    """P and r, as arrays."""
    import torch

    import altmarl_torch as am

    game, pi_l = am.games.make(told["game"]), torch.from_numpy(np.load(folder / "pi_l.npy"))
    mdp, spent = timed(lambda: am.surrogate_mdp(game, pi_l, told["k"]))
    np.save(folder / "P.npy", mdp.P)
    np.save(folder / "r.npy", mdp.r)
    if told["drn"]:
        mdp.to_drn(folder / "game.drn")
    return np.zeros(1), spent, ""


def quantecon(folder, told):
    """Modified policy iteration of QuantEcon's, to an epsilon of twice our error."""
    from quantecon.markov import DiscreteDP

    warm = DiscreteDP(np.ones((2, 1)), np.full((2, 1, 2), 0.5), 0.5)
    warm.solve(method="modified_policy_iteration")
    P, r = np.load(folder / "P.npy"), np.load(folder / "r.npy")

    def work():
        method = {"method": "modified_policy_iteration", "epsilon": 2 * told["error"], "max_iter": 10_000}
        return DiscreteDP(r, P, told["gamma"]).solve(**method).v

    values, spent = timed(work)
    return values, spent, f"within {told['error']:.1g}, by its epsilon"


def mdpsolver(folder, told):
    """Modified policy iteration of MDPSolver's, on one core; it takes lists, which are made before."""
    import mdpsolver as peer

    P, r = np.load(folder / "P.npy").tolist(), np.load(folder / "r.npy").tolist()

    def work():
        model = peer.model()
        model.mdp(discount=told["gamma"], rewards=r, tranMatWithZeros=P)
        model.solve(algorithm="mpi", tolerance=told["error"], parallel=False)
        return np.array(model.getValueVector())

    values, spent = timed(work)
    return values, spent, f"an {told['error']:.1g}-optimal policy, by its tolerance"


def storm(folder, told):
    """Value iteration of Storm's, through a file; writing it is not counted."""
    import stormpy

    rule = stormpy.parse_properties(f'R{{"r"}}max=? [ Cdiscount={told["gamma"]!r} ]')[0]

    def work():
        model = stormpy.build_model_from_drn(str(folder / "game.drn"))
        return np.array(stormpy.model_checking(model, rule, only_initial_states=False).get_value_vector())

    values, spent = timed(work)
    return values, spent, "nothing: it stops at a relative change of 1e-6"


def mfglib(folder, told):
    """Online mirror descent of MFGLib's, on agents whose state is (s_l, s_g), s_g' being the zone with most of them."""
    import torch
    from mfglib.alg import OnlineMirrorDescent
    from mfglib.env import Environment
    from mfglib.utils import mean_field_from_policy

    P_l, r_l, mu = (torch.from_numpy(np.load(folder / "game.npz")[name]).float() for name in ("P_l", "r_l", "mu"))
    zones = torch.eye(len(mu))

    def law(env, t, flow):
        beacon = zones[flow.sum((1, 2)).argmax()]
        return torch.einsum("lgan,b->nblga", P_l, beacon)

    def reward(env, t, flow):
        return told["gamma"] ** t * r_l

    env = Environment(
        T=told["steps"] - 1, S=r_l.shape[:2], A=r_l.shape[2:], mu0=mu[:, None] * zones[0], r_max=1.0, reward_fn=reward,
        transition_fn=law,
    )  # fmt: skip
    (policies, gaps, _), spent = timed(lambda: OnlineMirrorDescent().solve(env, max_iter=100))
    best = int(np.argmin(gaps))
    flow = mean_field_from_policy(policies[best], env=env).double()  # [t, sl, sg, al]; played is its law, t left out
    flow = torch.einsum("t,tlga->lga", told["gamma"] ** torch.arange(told["steps"]).double(), flow)
    pi_l = (flow + 1e-12) / (flow + 1e-12).sum(-1, keepdim=True)
    return pi_l.numpy(), spent, f"exploitability {gaps[best]:.1g} of the game of a continuum"


def timed(work):
    """What work returns, and its seconds: on the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, (time.perf_counter() - clock, time.process_time() - processor)


def peak():
    """The most memory that this process has held, MB; Linux's ru_maxrss begins at what its parent, with torch, held."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


SOLVERS = {
    "ours": ours,
    "build": build,
    "quantecon": quantecon,
    "mdpsolver": mdpsolver,
    "storm": storm,
    "mfglib": mfglib,
}
PACKAGES = {"ours": "altmarl-torch", "build": "altmarl-torch", "storm": "stormpy"}


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
    values, (seconds, processor), proven, *more = SOLVERS[name](folder, told)
    np.save(folder / f"{name}.npy", values)
    shown = {"version": version(PACKAGES.get(name, name)), "seconds": seconds, "processor": processor}
    print(json.dumps(shown | {"memory": peak(), "proven": proven} | dict(*more)))


if __name__ == "__main__":
    main()
