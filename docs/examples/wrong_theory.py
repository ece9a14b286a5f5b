"""A wrong theory for `polyseme audit --plant`: a momentum-like term, a tenth of the gradient's cube, added to each gradient."""

import dataclasses

import sympy as sp


def patch(recursion):
    """The recursion with every gradient g replaced by g + g^3 / 10."""
    gradient = {x: g + g**3 * sp.Rational(1, 10) for x, g in recursion.gradient.items()}
    return dataclasses.replace(recursion, gradient=gradient)
