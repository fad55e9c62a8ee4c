"""What pyproject.toml cannot say: the README as a package index shows it, where links into the checkout are dead."""

import re
from pathlib import Path

from setuptools import setup

INSIDE = r"\((?!https?://|#)[^)]*\)"  # the target of a link that only a checkout has


def for_an_index(readme: str) -> str:
    """The README without pictures and links that lead into the checkout; the words of a link stay."""
    readme = re.sub(rf"^!\[[^\]]*\]{INSIDE}\n+", "", readme, flags=re.MULTILINE)
    return re.sub(rf"\[([^\]]+)\]{INSIDE}", r"\1", readme)


if __name__ == "__main__":
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    setup(long_description=for_an_index(readme), long_description_content_type="text/markdown")
