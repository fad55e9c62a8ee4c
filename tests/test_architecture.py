"""The shape of the package: imports go one way, nothing dangerous is called, everything public is explained.

``ORDER`` is the data flow of the library, and its table of contents.  A module may import what stands before it and
nothing else, so there are no cycles and a reader can begin at the top.  A package's ``__init__`` is the door to its
modules and stands behind them.
"""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "altmarl_torch"

ORDER = [
    # errors, files, tables, threads
    "errors", "files", "tables", "npz", "states", "parallel", "interrupts",
    # the game
    "initial", "logs", "counting", "population", "clipped_normal", "rewards", "earnings", "game", "finite_types",
    "games.warehouse", "games.toys", "games.random", "games.smart_grid", "games.two_speed",
    "games.federated", "games",
    # counts and the law of the next counts
    "simplex", "trajectories", "pair_moves", "kernels", "posterior",
    # policies and their simulation
    "policies", "heuristics", "yardsticks", "belief", "rollout",
    # a game from a log
    "estimation",
    # operators, values, bounds
    "fixed_point", "bellman", "evaluation",
    "theory.arguments", "theory.schedules", "theory.gaps", "theory.sizes", "theory.noise", "theory.complexity",
    "theory.ucfh", "theory", "bounds",
    # n agents, and one that deviates
    "finite", "potential",
    # how far a pair is from an equilibrium; before any learner, so that it can import none
    "deviations", "certificate", "rollout_gaps",
    # learners
    "tabular.g_learn", "tabular.l_learn", "tabular.q_learning",
    "tabular.episodic", "tabular.visits", "tabular.chain_forms", "tabular.chain_literal", "tabular.chain_policies",
    "tabular.chained",
    "tabular.chain_simulator", "tabular.deciding", "tabular.confidence", "tabular.units",
    "tabular.exploration", "tabular.ucfh",
    "tabular.projection", "tabular.chain_l_learn",
    # the loop and what it returns
    "alternation", "tabular.learners", "tabular", "chain_report",
    "neural.networks", "neural.surrogate", "neural.policies", "neural.storage", "neural.training", "neural.fitting",
    "neural.evaluation", "neural.q_learning",
    "neural.l_learn", "neural.learners", "neural",
    "choices", "solution", "checkpoints", "players", "starts", "observing", "selection", "solver",
    # off-policy: what acts, what it shows, what is learned from it
    "behaviour", "coverage", "offline",
    # the sampled operator measured against the exact one
    "noise",
    # the library's door, and the command line behind it
    "", "user_games", "config", "runs", "plots", "tracking", "report", "training",
    "sweeps.plan", "sweeps.cell", "sweeps.workers", "sweeps.results", "sweeps.live", "sweeps.running", "sweeps",
    "sweeps.published", "sweeps.run_figures", "sweeps.figures", "sweeps.commands",
    "fit_command", "collect_command",
    # real federated averaging, from which one game was counted
    "federated.simulation", "federated.observing", "federated.episodes", "federated.building", "federated.comparing",
    "federated", "federated.__main__",
    "cli", "__main__",
]  # fmt: skip

FORBIDDEN_CALLS = {
    "torch.load": "it unpickles",
    "torch.save": "it pickles",
    "joblib.load": "it unpickles",
    "joblib.dump": "it pickles",
    "torch.manual_seed": "the random state is the caller's",
    "torch.set_default_dtype": "the default type is the caller's",
    "torch.set_default_device": "the default device is the caller's",
    "torch.set_num_threads": "threads are the caller's",
    "torch.use_deterministic_algorithms": "the setting is the caller's",
    "np.random.seed": "the random state is the caller's",
    "random.seed": "the random state is the caller's",
    "logging.basicConfig": "logging is the caller's",
    "eval": "it runs what it reads",
    "exec": "it runs what it reads",
    "spec.loader.exec_module": "it runs what it reads",
}
ALLOWED = {
    ("parallel", "torch.set_num_threads"),  # the one place, which restores what it found
    ("user_games", "spec.loader.exec_module"),  # of the file that the command line names, which is run on purpose
}
ALLOWED_IMPORTS = {("sweeps.workers", "joblib")}  # which schedules there, and stores nothing
FORBIDDEN_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tests", "matplotlib.pyplot"}


def name_of(path):
    """``games/toys.py`` is ``games.toys``; the package's own ``__init__`` is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTABLE = [name for name in MODULES if name != "__main__"]


def full(name):
    return f"altmarl_torch.{name}".rstrip(".")


def imports(tree):
    """Every module that is imported anywhere in the file, as ``(module, imported names)``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, [alias.name for alias in node.names]


def own_imports(tree):
    """The package's modules among them: ``from altmarl_torch import games`` is ``games``."""
    for module, names in imports(tree):
        if module == "altmarl_torch":
            yield from (name if name in MODULES else "" for name in names)
        elif module.startswith("altmarl_torch."):
            inner = module.removeprefix("altmarl_torch.")
            yield from (f"{inner}.{name}" if f"{inner}.{name}" in MODULES else inner for name in names)


def calls(tree):
    """Dotted names of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_order_lists_every_module_once():
    assert sorted(ORDER) == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    later = [other for other in own_imports(MODULES[name]) if ORDER.index(other) >= ORDER.index(name)]
    assert not later, f"{name} imports {later}, which come after it"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_dangerous_is_imported_or_called(name):
    for module, names in imports(MODULES[name]):
        for imported in (module, *(f"{module}.{one}" for one in names)):
            for word in (imported, imported.partition(".")[0]):
                assert word not in FORBIDDEN_IMPORTS or (name, word) in ALLOWED_IMPORTS, imported
    for call in calls(MODULES[name]):
        assert call not in FORBIDDEN_CALLS or (name, call) in ALLOWED, f"{call}: {FORBIDDEN_CALLS[call]}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_opens_with_an_explanation(name):
    assert ast.get_docstring(MODULES[name]), name


@pytest.mark.parametrize("name", IMPORTABLE)
def test_public_names_exist_and_are_explained(name):
    module = importlib.import_module(full(name))
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{full(name)}.{public} has no docstring"


def test_the_door_lists_what_it_opens():
    door = importlib.import_module("altmarl_torch")
    assert sorted(door.__all__) == sorted(set(door.__all__))
    for name in ("Game", "games", "solve", "Solution", "rollout", "CountSimplex", "CountKernel"):
        assert name in door.__all__


def test_importing_the_package_does_no_work():
    """No figure library, no TensorBoard, no change of torch's or numpy's state."""
    code = (
        "import sys, torch, numpy as np\n"
        "loaded = set(sys.modules)\n"
        "before = torch.get_default_dtype(), torch.get_rng_state().sum(), str(np.random.get_state())\n"
        "import altmarl_torch\n"
        "after = torch.get_default_dtype(), torch.get_rng_state().sum(), str(np.random.get_state())\n"
        "heavy = {'matplotlib', 'tensorboard', 'tqdm', 'joblib', 'rich'} & (set(sys.modules) - loaded)\n"
        "sys.exit(f'loaded {heavy}' if heavy else before != after)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
