"""From symbols to numbers: NumPy, machine code, a cheaper form, balls and decimals of many digits.

fast     A cheaper evaluation of the same recursion: gates as half-lines, sums over neurons and prompts by cumulative sums
lower    From symbols to vectorised NumPy code
machine  Levels S and B as machine code, with the names and arrays of `lower`
numbers  The numbers that a derived recursion may be run over besides float64: balls, and decimals of many digits
"""
