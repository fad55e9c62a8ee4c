"""Flags from fields: a dataclass whose fields say what the command line needs to know of them."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from altmarl_torch.errors import ArgumentError

__all__ = ["add_flags", "check_names", "check_word", "flag", "name_and_value", "or_word", "whole", "whole_or_range"]


def flag(
    help: str,
    parse: Callable[[str], object] = str,
    choices: tuple[str, ...] = (),
    unset: str = "",
    also: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the command line needs to know of a field.

    Args:
        help: what it means.
        parse: from text to a value; `name_and_value` fields may be given several times.
        choices: the words that there are.
        unset: what a default of `None` means, in words.
        also: by a word (another field, or one that `add_flags` knows), what is to be added to the help where commands
            have that; a choice of that name likewise.
    """
    return {"help": help, "parse": parse, "choices": choices, "unset": unset, "also": also or {}}


def name_and_value(text: str) -> tuple[str, Any]:
    """`rows=4` as a name and a value: a number, a list or what else JSON knows, or a word.

    Raises:
        argparse.ArgumentTypeError: there is no name, or no value.
    """
    name, equals, value = text.partition("=")
    if not name.strip().isidentifier() or not equals or not value.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE, as rows=4 is")
    try:
        return name.strip(), json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return name.strip(), value.strip()


def _no_number(word: str) -> None:
    raise ValueError(word)


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


def whole_or_range(text: str) -> int | str:
    """A whole number; or several with colons or commas between them, as 1:50, which stay text."""
    return text if ":" in text or "," in text else whole(text)


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


class _Collect(argparse.Action):
    """Collect names and values, each name once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        found, (name, value) = getattr(namespace, self.dest) or {}, values
        if name in found:
            raise argparse.ArgumentError(self, f"{name} is given twice")
        setattr(namespace, self.dest, {**found, name: value})


def add_flags(parser: argparse.ArgumentParser, kind: Any, without: Sequence[str] = ()) -> None:
    """Give `parser` one kebab-case flag per field of the dataclass `kind`, with its help and its default.

    What is parsed tells in `given` which of them were typed.

    Args:
        parser: of a command.
        kind: its fields carry `flag(...)` as metadata.
        without: fields that the command has flags of its own for, or has not, and other words of `also` that are
            nothing to it.
    """
    for option in dataclasses.fields(kind):
        if option.name in without:
            continue
        name, meta = "--" + option.name.replace("_", "-"), option.metadata
        if meta["parse"] is bool:
            parser.add_argument(name, action="store_true", help=meta["help"])
            continue
        more = "".join(text for word, text in meta["also"].items() if word not in without)
        text = f"{meta['help']}{more} (default: {meta['unset'] or '%(default)s'})"
        several = meta["parse"] is name_and_value
        metavar = None if meta["choices"] else "NAME=VALUE" if several else option.name.rpartition("_")[2].upper()
        parser.add_argument(
            name,
            action=_Collect if several else _Store,
            type=meta["parse"],
            choices=tuple(word for word in meta["choices"] if word not in without) or None,
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
    if option.metadata["parse"] is name_and_value and value is not None and not isinstance(value, Mapping):
        raise ArgumentError(f"{option.name} must map names of arguments to values, not {value!r}")
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
