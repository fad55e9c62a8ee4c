"""One name for two functions: what a call is given says which of them is meant.

Such a door hands its options on, and would be typed as taking anything. `typed_as` lends it the two functions' own
signatures, so that a misspelt option is an error to a type checker wherever it is one at run time, and no option is
written down twice.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

__all__ = ["EitherKind", "typed_as"]

First = ParamSpec("First")
Second = ParamSpec("Second")
FirstResult = TypeVar("FirstResult", covariant=True)
SecondResult = TypeVar("SecondResult", covariant=True)


class EitherKind(Protocol[First, FirstResult, Second, SecondResult]):
    """A function that is called as either of two."""

    @overload
    def __call__(self, *args: First.args, **kwargs: First.kwargs) -> FirstResult: ...

    @overload
    def __call__(self, *args: Second.args, **kwargs: Second.kwargs) -> SecondResult: ...


def typed_as(
    first: Callable[First, FirstResult], second: Callable[Second, SecondResult]
) -> Callable[[Callable[..., Any]], EitherKind[First, FirstResult, Second, SecondResult]]:
    """Give a function the types of two others, between which it chooses; at run time it stays what it is."""
    return lambda function: cast("EitherKind[First, FirstResult, Second, SecondResult]", function)
