"""Marks functions whose calls a coroutine waits for."""


def verb(function):
    """Lets `Coro(function, ...)` call a function that is no generator function: it gives a call."""
    function._gives_call = True
    return function
