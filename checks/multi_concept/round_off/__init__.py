"""Round-off analysis: how far two computations of one quantity may be apart.

paths  how far two runs of one recursion may be apart
scale  what round-off is relative to
"""
