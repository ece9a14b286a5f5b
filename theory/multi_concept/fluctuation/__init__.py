"""How far SGD deviates from the recursion: linear noise, curvature, bounds, delayed escape.

bounds        An exponential bound on the 0-1 error of SGD on pure prompts, with every constant computed
curvature     Drift, noise of single prompts and curvature of the population risk
escape        Delayed escape from the initial plateau: why the 0-1 error falls exponentially, and how fast
gate_noise    Noise that moves gates: mean and covariance of SGD with every gate averaged over the noise
linear_noise  The covariance of SGD about the recursion, to leading order in 1/B, with the recursion's gates
"""
