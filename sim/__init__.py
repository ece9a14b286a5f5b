"""The experiment: the full one-layer transformer of THEORY.md section 1, trained by SGD.

Nothing here knows the reduced theory; `theory.setting` (the hypotheses) is all that is shared. The plain model is
differentiated by autograd; its twin, the fast step, has the same gradient in closed form and is checked against it.

- `sim.streams`   what randomness is for, and generators of what is drawn once   (no torch)
- `sim.plan`      sizes named once, and whether a run fits into memory           (no torch)
- `sim.initial`   dictionaries and initial weights                               (no torch)
- `sim.observe`   contract coefficients and products of a set of weights         (no torch)
- `sim.philox`    random numbers by address: seed, purpose, member, step, place
- `sim.draws`     everything that is random in a prompt
- `sim.prompts`   prompts written out as tensors, a step at a time
- `sim.enumeration` every noise-free prompt with its exact probability
- `sim.model`     the forward pass, and the loss, error and attention of prompts
- `sim.words`     words and labels that are not written out, with literal or reduced noise
- `sim.samplers`  from an address to a batch of such prompts
- `sim.step`      one update by the gradient in closed form
- `sim.engine`    how a step is taken: autograd, closed form, compiled
- `sim.evaluate`  exact or sampled expectations along a run
- `sim.train`     `simulate`, and runs that can be kept and taken up again
- `sim.memory`    what the C library does with freed memory                      (no torch)
- `sim.device`    where a run happens and in which precision
- `sim.probe`     gradients and samples that checks ask for
- `sim.transfer`  a trained model on prompts of other laws and dictionaries
- `sim.drift`     the expected gradient under noise by Monte Carlo, and descent along it
- `sim.laws`      what checks of the fast step and of the samplers ask for
"""
