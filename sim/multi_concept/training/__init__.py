"""The model, its start, and how it is trained: sizes, engines, steps, evaluation.

engine    How a step is taken: autograd of the written-out model, or the fast step, eager or compiled
evaluate  Expectations along a run: exact where prompts are enumerated, else over one fixed sample
initial   The initial state: dictionaries and weights
model     The one-layer transformer, for a whole ensemble at once
samplers  From an address to a batch of prompts for `polyseme.sim.multi_concept.training.step`: the literal sampler, and the one with reduced noise
step      One update of many members from the gradient in closed form, for eager and compiled runs alike
train     Training the full model: online SGD or exact population descent of a whole ensemble
"""
