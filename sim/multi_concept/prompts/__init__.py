"""Prompts drawn and enumerated, as tensors.

draws        What is random in a prompt, drawn at its address
enumeration  Every noise-free prompt up to the order of its demonstrations, with its exact probability
samplers     From an address to a batch of prompts for `polyseme.sim.multi_concept.training.step`: the literal sampler, and the one with reduced noise
tensors      Prompts as tensors: random variables written out as vectors, a step at a time
words        Words and labels without writing them out: what one step asks of them, as a mean part and a noise part
"""
