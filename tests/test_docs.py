"""What the docs show runs: every Python block of README.md and of the pages of docs/, each page in an empty folder."""

import contextlib
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.errors import MissingExtraError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HAVE_EXAMPLES = {
    *("CountKernel", "CountSimplex", "Game", "InitialLaw", "Solution", "bellman_noise", "certify", "collect"),
    *("coverage_of_game", "learn_from_data", "paired_difference", "population_value", "rollout", "rollout_gaps"),
    *("solve", "surrogate_mdp", "with_types"),
}


@pytest.fixture
def short_turns(monkeypatch):
    """Simulators are learned for a moment: what they find is tested where it has a known answer."""
    for name, value in (("GLOBAL_STEPS", (40, 40)), ("LOCAL_STEPS", 40), ("PATH_STEPS", 8), ("EPISODES", 64)):
        monkeypatch.setattr(players, name, value)


BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, short_turns):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        try:
            exec(compile(block, str(page), "exec"), names)
        except MissingExtraError as missing:
            pytest.skip(str(missing))


@pytest.mark.parametrize("name", sorted(set(am.__all__) - {"__version__"}))
def test_the_examples_of_a_public_name_run(name):
    """And what one calls first has an example."""
    examples = [
        test
        for test in doctest.DocTestFinder(recurse=inspect.isclass(getattr(am, name))).find(getattr(am, name), name)
        if test.examples
    ]
    assert examples or name not in HAVE_EXAMPLES
    for test in examples:
        assert doctest.DocTestRunner().run(test).failed == 0, test.name


def test_every_promise_names_a_test_that_exists():
    files = (ROOT / "tests").rglob("test_*.py")
    tests = {str(path.relative_to(ROOT / "tests")): path.read_text(encoding="utf-8") for path in files}
    everything = "\n".join(tests.values())
    named = re.findall(
        r"`([^`]*)`", "\n".join(re.findall(r"^\|.*\| (.*) \|$", (ROOT / "docs/reliability.md").read_text(), re.M))
    )
    words = [
        word for name in named for word in re.findall(r"[\w/]*test_\w+\.py|\w*test_\w{8,}|Test\w+|(?<=\.\.\.)\w+", name)
    ]
    assert len(words) > 20
    for word in words:
        word = word.removeprefix("tests/")
        assert word in tests if word.endswith(".py") else word in everything, word


REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs/reference").glob("*.md")))
DOCUMENTED = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)
DOORS = ["cli", "heuristics", "neural", "rewards", "runs", "sweeps", "tabular"]


@pytest.mark.parametrize("name", [*am.__all__, *DOORS])
def test_a_public_name_has_its_place_in_the_reference(name):
    assert f"altmarl_torch.{name}" in DOCUMENTED, f"write `::: altmarl_torch.{name}` into a page of docs/reference/"


@pytest.mark.parametrize("path", DOCUMENTED)
def test_what_the_reference_documents_exists(path):
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError):
            thing = importlib.import_module(".".join(parts[:cut]))
            break
    for part in parts[cut:]:
        thing = getattr(thing, part)
    assert thing.__doc__, path


def test_every_page_can_be_reached():
    listed = set(re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert listed == there, "the navigation of mkdocs.yml and the pages of docs/ differ"


PLACE = re.compile(r"`(?:altmarl_torch/)?([a-z_]+/[\w/]+\.py)(?:: (\w+))?`")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_places_in_the_code_are_where_a_page_says(page):
    for place, name in PLACE.findall(page.read_text(encoding="utf-8")):
        file = next(
            (at / place for at in (ROOT / "altmarl_torch", ROOT, ROOT / "tests") if (at / place).exists()), None
        )
        assert file, f"there is no {place}"
        text = file.read_text(encoding="utf-8")
        assert not name or re.search(rf"^(?:def|class) {name}\b|^{name}\b.* = ", text, re.M), f"{place} has no {name}"
