"""The forward pass in coefficients, written once for each level of reduction.

forward  The forward pass of a pure prompt: levels S and B
letters  The index letters of all levels, each with its whole range
noisy    The forward pass of a noisy prompt with few extras, to second order in the noise: level N
span     The forward pass of any noise-free prompt, in coefficients on span M and span Q: level Z
"""
