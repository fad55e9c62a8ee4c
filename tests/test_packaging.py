"""What is shipped says what is true: one version, floors that were tried, a description that stands by itself."""

import importlib.metadata
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import altmarl_torch as am

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OWN = "altmarl-torch"


def pins(name):
    """The lines `package==version` of a constraints file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def requirements(*extras):
    """What is asked for: of the core, and of the extras named."""
    listed = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [one for one in map(Requirement, listed) if one.name != OWN]


def floor(requirement):
    (bound,) = requirement.specifier
    assert bound.operator == ">=", f"{requirement}: bounds are lower ones"
    return bound.version


def test_one_version_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {am.__version__}\n" in citation
    assert f"## [{am.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "version" in PROJECT["dynamic"], "it stands in altmarl_torch/__init__.py alone"


@pytest.mark.parametrize("requirement", requirements("ray", "dask", "federated", "test"), ids=lambda one: one.name)
def test_the_lowest_version_is_the_one_that_is_tried(requirement):
    lowest, bound = (
        re.sub(r"(\.0)+$", "", version)
        for version in (pins("constraints-lowest.txt")[requirement.name], floor(requirement))
    )
    assert lowest == bound


@pytest.mark.parametrize("requirement", requirements(*EXTRAS), ids=lambda one: one.name)
def test_what_is_asked_for_is_pinned_within_its_bounds(requirement):
    known = pins("constraints-flower.txt") | pins("constraints.txt")
    assert requirement.specifier.contains(known[requirement.name])


def test_what_runs_is_what_is_asked_for():
    for requirement in requirements("test"):
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name)), requirement


def test_the_description_of_an_index_has_no_link_into_the_checkout():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = runpy.run_path(str(ROOT / "setup.py"), run_name="read")["for_an_index"](readme)
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert all(target.startswith(("https://", "http://", "#")) for target in targets), targets
    assert "](docs/" in readme, "in the checkout the links lead somewhere"
    assert "python train.py --k 20" in text


def test_links_of_the_readme_and_the_guide_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(((?!https?://|#)[^)#]*)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page}: {target}"


def test_train_py_is_the_command():
    done = subprocess.run([sys.executable, ROOT / "train.py", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: altmarl train")
