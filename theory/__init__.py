"""The mathematics: no torch, no randomness, no files.

calculus/       what any theory is derived with
multi_concept/  the theory of multi-concept word semantics (arXiv 2411.02199)
"""
