"""The theory of multi-concept word semantics (arXiv 2411.02199): regime, derivation, reduced dynamics, what follows from them.

coefficients  full weights to coefficients and back to arrays
regime        the Regime: every hypothesis, validated; the one thing shared with `sim`
article/      the derived recursion for a reader: text, LaTeX article, JSON
derivation/   from the forward pass to the recursion: which blocks live, and the derivative of the risk in each
dynamics/     running the reduced system: recursion, ensembles, gradient flow, certified runs
fluctuation/  how far SGD deviates from the recursion: linear noise, curvature, bounds, delayed escape
model/        the forward pass in coefficients, written once for each level of reduction
numerics/     from symbols to numbers: NumPy, a cheaper form, balls and decimals of many digits
outcome/      what follows at the end of training: thresholds, the Bayes error, prompts of other laws
prompts/      the law of prompts, as tables of prompts with their probabilities
reference/    reference implementations: the same quantities by brute force, for comparison
"""
