"""Prompts drawn and enumerated, as tensors.

draws        What is random in a prompt, drawn at its address
enumeration  Every noise-free prompt up to the order of its demonstrations, with its exact probability
tensors      Prompts as tensors: random variables written out as vectors, a step at a time
words        Words and labels without writing them out: what one step asks of them, as a mean part and a noise part
"""
