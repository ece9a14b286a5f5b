"""The experiment: the full one-layer transformer of THEORY.md section 1, trained by autograd.

Nothing here knows the closed forms of the theory; `theory.setting` (the hypotheses) is all that is shared.

- `sim.streams`   random streams keyed by seed, purpose, member and variable
- `sim.plan`      sizes named once, and whether a run fits into memory          (no torch)
- `sim.initial`   dictionaries and initial weights                              (no torch)
- `sim.draws`     everything that is random in a prompt                         (no torch)
- `sim.observe`   contract coefficients and products of a set of weights        (no torch)
- `sim.prompts`   prompts as tensors, a step at a time
- `sim.enumeration` every noise-free prompt with its exact probability
- `sim.model`     the forward pass, and the loss, error and attention of prompts
- `sim.evaluate`  exact or sampled expectations along a run
- `sim.train`     `simulate`: online SGD or population descent of an ensemble
- `sim.device`    where a run happens and in which precision
- `sim.probe`     gradients and samples that checks ask for
"""
