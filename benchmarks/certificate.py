"""The certificate, timed: python benchmarks/certificate.py --k 10,20

Learns the warehouse's pair (paper preset) at each k, certifies it, and prints what each deviation gains, in units of
value and relative to it, with the seconds it took, absolute and relative to the training. The deviation of all local
agents together takes minutes at k = 50; --quick leaves it out.
"""

import argparse
import resource
import time

import altmarl_torch as am
from altmarl_torch.evaluation.certificate import PARTS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=[10, 20], help="sizes")
    parser.add_argument("--quick", action="store_true", help="leave out the shared deviation")
    arguments = parser.parse_args()
    parts = [part for part in PARTS if part != "shared" or not arguments.quick]
    for k in arguments.k:
        print_certificate(k, parts)


def print_certificate(k, parts):
    game, begun = am.games.warehouse(), time.perf_counter()
    solution = am.solve(game, k)
    trained = time.perf_counter() - begun
    found = am.certify(game, solution, parts=parts)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"k = {k}: value {found.value:.3f}, training {trained:.1f} s, peak memory so far {memory:.1f} GB")
    rows = {
        "global": found.global_deviation,
        "single, team": found.single_team,
        "single, own": found.single_own,
        "shared": found.shared_deviation,
    }
    for name, gap in rows.items():
        if gap is not None:
            ends = f"{gap.lower:9.2e} .. {gap.upper:9.2e}  ({gap.upper / found.value:8.4%} of the value)"
            print(f"  {name:<13} {ends}  {gap.kind:<6}  {gap.seconds:8.2f} s = {gap.seconds / trained:6.2f} x training")


if __name__ == "__main__":
    main()
