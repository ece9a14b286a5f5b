"""What every part of polyseme raises for bad input: one sentence that says what was got, what was expected, what to type."""


class PolysemeError(Exception):
    """Bad input: one sentence that says what was got, what was expected and what to type."""


class RegimeError(PolysemeError):
    """A regime that cannot exist; the message names the key, the value and what would be accepted."""


class Diverged(PolysemeError):
    """A run left the numbers: its step size is too large, or its theory is wrong."""
