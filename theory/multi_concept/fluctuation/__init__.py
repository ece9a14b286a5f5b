"""How far SGD strays from the recursion: linear noise, curvature, bounds, delayed escape.

bounds        An exponential bound on the 0-1 error of SGD on pure prompts, with every constant computed
curvature     drift, noise of one prompt and curvature of the population risk; `bounds` an exponential bound on the error of SGD
escape        Delayed escape from the initial plateau: why the 0-1 error falls exponentially, and how fast
gate_noise    Noise that moves gates: mean and covariance of SGD with every gate averaged over the noise
linear_noise  how far they stray from the recursion, with its gates as they are; `gate_noise` with gates that the noise moves
"""
