"""Rules: evidence in, judgement out. Every threshold of the suite stands in this folder.

bound         UpperBound: quantities at most their bounds, and the slack
common        what the statistical rules share: p-values, levels, plans
distribution  Distribution: distribution functions near a stated one
equivalence   Equivalence: differences smaller than a margin
exact         ExactZero, RoundOff, Order: nothing is random
rate          Rate: a slope on logarithmic axes
"""
