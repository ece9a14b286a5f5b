"""The forward pass in coefficients, written once for each level of reduction.

forward  the forward pass of a pure prompt, written once; `span` that of any noise-free prompt
noisy    the forward pass under low noise and few extras; `noise_closure` which blocks live there
letters  the index letters of all levels, each with its whole range
span     The forward pass of any noise-free prompt, in coefficients on span M and span Q: level Z
"""
