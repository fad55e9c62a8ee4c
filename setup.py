"""What pyproject.toml cannot say: the compiled sweep, and the README as a package index shows it.

The compiled sweep (`altmarl_torch/counts/sweep.cpp`) is optional: without a C++ compiler the installation succeeds and
torch does its work. `python setup.py build_ext --inplace` builds it in a checkout that is used without being installed.
"""

import re
from pathlib import Path

from setuptools import Extension, setup

INSIDE = r"\((?!https?://|#)[^)]*\)"  # the target of a link that only a checkout has

SWEEP = Extension(
    "altmarl_torch.counts._sweep",
    sources=["altmarl_torch/counts/sweep.cpp"],
    depends=["altmarl_torch/counts/sweep_panels.h"],
    language="c++",
    extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden"],
    optional=True,
)


def for_an_index(readme: str) -> str:
    """The README without pictures and links that lead into the checkout; the words of a link stay."""
    readme = re.sub(rf"^!\[[^\]]*\]{INSIDE}\n+", "", readme, flags=re.MULTILINE)
    return re.sub(rf"\[([^\]]+)\]{INSIDE}", r"\1", readme)


if __name__ == "__main__":
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    setup(
        ext_modules=[SWEEP],
        long_description=for_an_index(readme),
        long_description_content_type="text/markdown",
    )
