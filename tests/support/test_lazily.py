"""Packages whose names are imported when they are asked for: what a type checker sees is what is there."""

import ast
import importlib
import inspect

import pytest

LAZY = ["altmarl_torch", "altmarl_torch.games", "altmarl_torch.runs"]


def names_for_type_checkers(module):
    """The names imported under `if TYPE_CHECKING`, with the modules that they are imported from."""
    found = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            imports = [one for one in node.body if isinstance(one, ast.ImportFrom)]
            found |= {alias.name: one.module for one in imports for alias in one.names}
    return found


@pytest.mark.parametrize("name", LAZY)
class TestLazyPackages:
    def test_every_public_name_is_there_and_listed(self, name):
        package = importlib.import_module(name)
        for public in package.__all__:
            assert getattr(package, public) is not None
            assert public in dir(package)

    def test_names_are_those_that_type_checkers_see(self, name):
        package = importlib.import_module(name)
        seen = names_for_type_checkers(package)
        assert seen
        for public, home in seen.items():
            holder = importlib.import_module(home)
            expected = getattr(holder, public, None) or importlib.import_module(f"{home}.{public}")
            if public in package.__all__:
                assert getattr(package, public) is expected
        defined = {
            node.name for node in ast.parse(inspect.getsource(package)).body if isinstance(node, ast.FunctionDef)
        }
        eager = {
            alias.name
            for node in ast.parse(inspect.getsource(package)).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        assert set(package.__all__) <= seen.keys() | defined | eager

    def test_another_name_is_an_attribute_error(self, name):
        package = importlib.import_module(name)
        with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nosuch'"):
            _ = package.nosuch
