"""The errors that an audit plants in this theory.

operators  one way to be wrong each, on a derived recursion, on its time stepping, or on a statement
plants     the planted errors of a whole audit, and how each reaches what a claim asserts
"""
