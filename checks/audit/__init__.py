"""The audit: wrong theorems are planted, and what is caught is counted; true ones are tried thousands of times.

operators   one way to be wrong each, on a derived recursion, on its time stepping, or on a statement
plants      the planted errors of a whole audit, and how each reaches what a claim asserts
trial       plants against claims: who catches what, and which plants are equivalent, with the proof
rates       how often an error of 1% in a coefficient is caught, and the smallest that is caught 99 times in 100
bank        true claims of known law, many times: false alarms and p-values
page        the audit as a table on the terminal, as JSON and as a page
"""
