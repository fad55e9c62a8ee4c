"""What pyproject.toml cannot say: the compiled code, and the README as a package index shows it.

The compiled code (`altmarl_torch/support/native`) is optional: without a C++ compiler the installation succeeds and
torch does its work. `python setup.py build_ext --inplace` builds it in a checkout that is used uninstalled.
"""

import re
from pathlib import Path

from setuptools import Extension, setup

INSIDE = r"\((?!https?://|#)[^)]*\)"  # the target of a link that only a checkout has

COMPILED = Extension(
    "altmarl_torch.support.native._compiled",
    sources=[
        "altmarl_torch/counts/sweep.cpp",
        "altmarl_torch/support/native/drawing.cpp",
        "altmarl_torch/support/native/moving.cpp",
    ],
    depends=["altmarl_torch/counts/sweep_panels.h", "altmarl_torch/support/native/interface.h"],
    language="c++",
    # nobody asks for errno or traps, which would keep roots and choices out of vectors
    extra_compile_args=["-O3", "-std=c++17", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"],
    optional=True,
)


def for_an_index(readme: str) -> str:
    """The README without pictures and links that lead into the checkout; the words of a link stay."""
    readme = re.sub(rf"^!\[[^\]]*\]{INSIDE}\n+", "", readme, flags=re.MULTILINE)
    return re.sub(rf"\[([^\]]+)\]{INSIDE}", r"\1", readme)


if __name__ == "__main__":
    readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    setup(
        ext_modules=[COMPILED],
        long_description=for_an_index(readme),
        long_description_content_type="text/markdown",
    )
