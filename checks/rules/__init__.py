"""Rules: evidence in, judgement out. Every threshold of the suite stands in this folder.

common         what the statistical rules share: p-values, levels, plans
exact          ExactZero, RoundOff, Order: nothing is random
equivalence    Equivalence: differences smaller than a margin
bound          UpperBound: quantities at most their bounds, and the slack
rate           Rate: a slope on logarithmic axes
distribution   Distribution: distribution functions near a stated one
"""
