"""An object in a process of its own, so that its memory and its threads are its own."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class Worker:
    """What `make(*arguments)` returns, made and asked in a new process.

    What is raised there is raised here, too.
    """

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        process.start()
        theirs.close()
        self._process = process
        self._answer()

    def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever it returns
        """Return what a method of the object returns."""
        self._connection.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._connection.send(None)
        self._process.join()

    def _answer(self) -> Any:  # noqa: ANN401
        answer = self._connection.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(
    connection: Connection, make: Callable[..., object], arguments: tuple[object, ...]
) -> None:
    try:
        served = make(*arguments)
        connection.send(None)
        while (asked := connection.recv()) is not None:
            method, arguments = asked
            connection.send(getattr(served, method)(*arguments))
    except EOFError:  # whoever asked is gone
        return
    except BaseException as error:
        connection.send(error)
        raise
