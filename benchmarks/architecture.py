"""The picture of docs/architecture.md: folders as floors, and how many modules import from which of them.

    python benchmarks/architecture.py [docs/assets/architecture.svg]

It is drawn from the imports that are there; `tests/test_architecture.py: ORDER` says in which order the floors lie.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "altmarl_torch"
FLOORS = {
    "support": "arrays, files, threads, draws",
    "games": "what a game is",
    "counts": "counts of k agents, and their next law",
    "operators": "Bellman operators, joint value",
    "policies": "policies, rules, beliefs",
    "evaluation": "what a pair is worth",
    "theory": "the paper's statements",
    "learners": "ways to a best response",
    "alternation": "from a game to a Solution",
    "offline": "learning from data",
    "runs": "disk and terminal",
    "federated": "the federated study",
}


def order() -> list[str]:
    """The folders at the top level, in the order of the architecture's test."""
    tree = ast.parse((ROOT / "tests/test_architecture.py").read_text(encoding="utf-8"))
    values = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ORDER"]
    return [name for name in ast.literal_eval(values[0]) if (PACKAGE / name).is_dir() and name and "." not in name]


def imports(floors: list[str]) -> Counter[tuple[str, str]]:
    """How many modules of one folder import from another."""
    found: Counter[tuple[str, str]] = Counter()
    for floor in floors:
        for path in (PACKAGE / floor).rglob("*.py"):
            modules = [
                node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
            ]
            rooms = {parts[1] for module in modules if module and len(parts := module.split(".")) > 1}
            found.update((floor, room) for room in rooms if room in floors and room != floor)
    return found


def draw(path: Path) -> None:
    """Folders along the diagonal; left of one, how many of its modules import from the folder of that column."""
    floors = order()
    found, size = imports(floors), len(floors)
    figure = Figure(figsize=(11, 0.55 * size + 0.6))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    for row, name in enumerate(floors):
        axes.plot([0, row, row], [row, row, size - 1], color="0.93", linewidth=1, zorder=0)
        axes.text(row + 0.62, row, FLOORS.get(name, ""), va="center", size=9, color="0.3")
        axes.text(
            row,
            row,
            name,
            va="center",
            ha="center",
            size=9,
            color="white",
            bbox={"boxstyle": "round", "color": "#00695c"},
        )
        for column, other in enumerate(floors):
            if modules := found[name, other]:
                axes.scatter(column, row, s=60 + 40 * modules, color="#ffab91", zorder=1)
                axes.text(column, row, modules, va="center", ha="center", size=8)
    axes.set_xlim(-0.7, size + 2.2)
    axes.set_ylim(size - 0.4, -0.6)
    axes.axis("off")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/assets/architecture.svg")
