"""What the docs show runs: every Python block of README.md and of the pages of docs/, each page in an empty folder."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(block, str(page), "exec"), names)


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
