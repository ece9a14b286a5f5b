"""The mathematics: no torch, no randomness, no files.

setting       the Regime: every hypothesis, validated; the one thing shared with `sim`
functions     loss, ReLU and gate as SymPy functions
forward       the forward pass of a pure prompt, written once
derive        risk, gradients and the recursion, by differentiation
closure       which blocks live
idempotents   orthogonal idempotents and Peirce blocks, exact
law           probabilities of prompts, in counts
coefficients  full weights to coefficients and back to arrays
lower         the one boundary from symbols to NumPy
integrate     the discrete and the stochastic recursion
flow          the gradient flow
show          LaTeX, text and JSON of the executed objects
prompt_gradients  the gradients of section 3 as stated, for any prompt
slow          the exact, dense twin
"""
