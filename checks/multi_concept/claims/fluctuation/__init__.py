"""Step 5, noise and fluctuations: SGD beside the recursion, level N.

covariance     of the family fluctuation: the covariance of SGD's coefficients is linear noise while gates are stable
deviation      of the family fluctuation: how far SGD strays from the recursion
extras         about other concepts in the words: drift, runs, and what grows
fluctuation    of the family fluctuation: how far the gradient of a minibatch is from the drift
kinks          of the family fluctuation: how far SGD strays where gates move and neurons sit on their kinks
noise          about level N itself: its gates, its drift under noise, and level B without
noise_order    about level N by quadrature of the full model's gradient, so that no chance blurs them
noise_scaling  of the family fluctuation: noise on words and labels moves SGD in proportion to its size
noisy_runs     about whole runs under noise: level N beside level B, and beside SGD
"""
