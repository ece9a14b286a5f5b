"""Step 2, the gradient in the coefficients, and the law that it is averaged over.

draws       about what the simulation draws: the start of neurons, noise, other concepts
engines     about the simulation's own shortcuts: the fast step, and the sampler with reduced noise
gradient    of the family gradient
identities  about identities of: attention as a probability, Euler's identity
sampling    that are decided by sampling
"""
