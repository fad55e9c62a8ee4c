"""Flags from fields: a dataclass whose fields say what the command line needs to know of them."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from altmarl_torch.errors import ArgumentError

__all__ = ["add_flags", "check_names", "check_word", "flag", "or_word", "whole"]


def flag(
    help: str, parse: Callable[[str], object] = str, choices: tuple[str, ...] = (), unset: str = ""
) -> dict[str, Any]:
    """What the command line needs to know of a field; `unset` says in words what a default of `None` means."""
    return {"help": help, "parse": parse, "choices": choices, "unset": unset}


def whole(text: str) -> int:
    """A whole number, also as 1e9.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        exact = int(number)
    except (ValueError, OverflowError):
        number, exact = 0.5, 0
    if exact != number:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}")
    return exact


def or_word(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`"0.1"` is a number and `"auto"` stays a word; which are right is decided with the other checks."""

    def read(text: str) -> object:
        try:
            return parse(text)
        except ValueError:
            return text

    return read


class _Store(argparse.Action):
    """Store the value, and in `given` that it was given: a default that is typed is meant."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.given = {*getattr(namespace, "given", ()), self.dest}


def add_flags(parser: argparse.ArgumentParser, kind: Any, without: Sequence[str] = ()) -> None:
    """Give `parser` one kebab-case flag per field of the dataclass `kind`, with its help and its default.

    What is parsed tells in `given` which of them were typed.

    Args:
        parser: of a command.
        kind: its fields carry `flag(...)` as metadata.
        without: fields that the command has flags of its own for.
    """
    for option in dataclasses.fields(kind):
        if option.name in without:
            continue
        name, meta = "--" + option.name.replace("_", "-"), option.metadata
        if meta["parse"] is bool:
            parser.add_argument(name, action="store_true", help=meta["help"])
            continue
        text = f"{meta['help']} (default: {meta['unset'] or '%(default)s'})"
        metavar = None if meta["choices"] else option.name.rpartition("_")[2].upper()
        parser.add_argument(
            name,
            action=_Store,
            type=meta["parse"],
            choices=meta["choices"] or None,
            default=option.default,
            metavar=metavar,
            help=text,
        )


def check_word(option: "dataclasses.Field[Any]", value: object) -> None:
    """Text is text, flags are flags, and a field with choices holds one of them."""
    expected = {str: "text", bool: "true or false"}.get(option.metadata["parse"])
    unset = value is None and option.default is None
    if expected and not unset and not isinstance(value, option.metadata["parse"]):
        raise ArgumentError(f"{option.name} must be {expected}, not {value!r}")
    if value == "":
        raise ArgumentError(f"{option.name} must not be empty")
    choices = option.metadata["choices"]
    if choices and not unset and value not in choices:
        raise ArgumentError(f"{option.name} must be one of {', '.join(choices)}; not {value!r}")


def check_names(kind: Any, values: object) -> None:
    """Raise an ArgumentError unless `values` maps names of fields of the dataclass `kind` to something."""
    if not isinstance(values, Mapping):
        raise ArgumentError(f"options must be a mapping of names to values, not {type(values).__name__}")
    known = [option.name for option in dataclasses.fields(kind)]
    unknown = [str(name) for name in values if name not in known]
    if unknown:
        raise ArgumentError(f"no option is called {', '.join(unknown)}; the options are {', '.join(known)}")
