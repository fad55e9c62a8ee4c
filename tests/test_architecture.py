"""The shape of the package: imports go one way, nothing dangerous is called, everything public is explained.

`ORDER` is the data flow of the library, folder by folder. A module imports from its own folder and from those above it,
never from below, and never in a circle. The docstring of a folder's `__init__` is its charter; `docs/architecture.md`
tells the same story with a picture.
"""

import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from altmarl_torch.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "altmarl_torch"

ORDER = [
    "errors", "support", "support.native", "simulators", "games", "counts", "operators", "policies", "evaluation",
    "theory", "learners", "learners.tabular", "learners.chains", "learners.neural", "learners.lifted",
    "learners.simulated", "learners.beliefs", "envs", "alternation", "alternation.simulated", "asking", "offline",
    "integrations",
    "heuristics", "rewards", "tabular", "neural", "",  # public doors, and the package's own behind them
    "runs", "runs.simulated", "runs.sweeps", "sweeps", "runs.cli", "cli",
    "federated", "__main__",
]  # fmt: skip
SIBLINGS = {
    "learners.tabular",
    "learners.chains",
    "learners.neural",
    "learners.simulated",
    "learners.lifted",
}  # ways to one end, which know nothing of each other
TOP_LEVEL = {"__init__", "__main__", "errors", "heuristics", "rewards", "tabular", "neural", "sweeps", "cli"}
MOST_MODULES, LONGEST_MODULE, LONGEST_BODY = 16, 350, 45

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
TYPED = {f"torch.{maker}" for maker in ("rand", "randn", "zeros", "ones", "empty", "eye", "linspace")} | {"nn.Linear"}
ALLOWED = {
    ("support.threads", "torch.set_num_threads"),  # the one place, which restores what it found
    ("games.from_file", "spec.loader.exec_module"),  # of the file that the command line names, which is run on purpose
}
ALLOWED_IMPORTS = {("runs.sweeps.workers", "joblib")}  # which schedules there, and stores nothing
FORBIDDEN_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tests", "matplotlib.pyplot"}


def name_of(path):
    """`games/toys.py` is `games.toys`; the package's own `__init__` is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
IMPORTABLE = [name for name in MODULES if name != "__main__"]


def full(name):
    return f"altmarl_torch.{name}".rstrip(".")


def imported(name):
    """The module; the test is skipped where it belongs to a partner who is not here."""
    try:
        return importlib.import_module(full(name))
    except MissingExtraError as missing:
        pytest.skip(str(missing))


def imports(tree):
    """Every module that is imported anywhere in the file, as `(module, imported names)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, [alias.name for alias in node.names]


def own_imports(tree):
    """The package's modules among them: `from altmarl_torch import games` is `games`."""
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


def folder_of(name):
    """The longest entry of `ORDER` that holds a module."""
    parts = name.split(".")
    return next(part for n in (2, 1, 0) if (part := ".".join(parts[:n])) in ORDER)


def lines_of(function):
    """The lines of a function behind its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_every_folder_stands_in_the_order_and_has_a_charter():
    folders = {name_of(path) for path in PACKAGE.rglob("__init__.py")}
    assert folders - {"games.named", "games.logs", "alternation.players"} <= set(ORDER)
    for name in folders:
        assert ast.get_docstring(MODULES[name]), name


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    floor = ORDER.index(folder_of(name))
    for other in own_imports(MODULES[name]):
        assert ORDER.index(folder_of(other)) <= floor, f"{name} imports {other}, whose folder comes after its own"
        both = {folder_of(name), folder_of(other)}
        assert len(both) == 1 or not both <= SIBLINGS, f"{name} imports {other}: learners know nothing of each other"


def test_there_is_no_circle():
    list(graphlib.TopologicalSorter({name: set(own_imports(MODULES[name])) for name in MODULES}).static_order())


@pytest.mark.parametrize("name", [name for name in IMPORTABLE if "." in name])
def test_no_name_hides_a_module(name):
    """`import altmarl_torch.evaluation.rollouts` gives the module, whatever its folder's `__init__` imports."""
    imported(name)
    folder, _, last = full(name).rpartition(".")
    assert getattr(sys.modules[folder], last) is sys.modules[full(name)]


def test_folders_and_modules_are_of_a_size_that_can_be_looked_through():
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP_LEVEL
    for folder in (path for path in PACKAGE.rglob("*") if path.is_dir()):
        assert len(list(folder.glob("*.py"))) <= MOST_MODULES, folder
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE, path


@pytest.mark.parametrize("name", MODULES)
def test_functions_can_be_read_at_a_glance(name):
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of(node) <= LONGEST_BODY, f"{name}.{node.name}"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_dangerous_is_imported_or_called(name):
    for module, names in imports(MODULES[name]):
        for imported in (module, *(f"{module}.{one}" for one in names)):
            for word in (imported, imported.partition(".")[0]):
                assert word not in FORBIDDEN_IMPORTS or (name, word) in ALLOWED_IMPORTS, imported
    for call in calls(MODULES[name]):
        assert call not in FORBIDDEN_CALLS or (name, call) in ALLOWED, f"{call}: {FORBIDDEN_CALLS[call]}"


@pytest.mark.parametrize("name", MODULES)
def test_what_is_made_says_its_type(name):
    """The default type is the caller's: whatever he has set it to, the same is computed."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in TYPED:
            assert "dtype" in {keyword.arg for keyword in node.keywords}, f"{name}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_opens_with_an_explanation(name):
    assert ast.get_docstring(MODULES[name]), name


@pytest.mark.parametrize("name", IMPORTABLE)
def test_public_names_exist_and_are_explained(name):
    module = imported(name)
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
    """No figure library, no TensorBoard, no change of torch's or numpy's state; torch itself when it is needed."""
    code = (
        "import sys, torch, numpy as np\n"
        "loaded = set(sys.modules)\n"
        "before = torch.get_default_dtype(), torch.get_rng_state().sum(), str(np.random.get_state())\n"
        "import altmarl_torch\n"
        "from altmarl_torch import *\n"
        "after = torch.get_default_dtype(), torch.get_rng_state().sum(), str(np.random.get_state())\n"
        "heavy = {'matplotlib', 'tensorboard', 'tqdm', 'joblib', 'rich'} & (set(sys.modules) - loaded)\n"
        "sys.exit(f'loaded {heavy}' if heavy else before != after)"
    )
    for one in (code, "import sys, altmarl_torch; sys.exit('torch' in sys.modules)"):
        done = subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
