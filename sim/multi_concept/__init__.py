"""The full transformer of the multi-concept theory, trained as it is defined.

initial_file   reading and checking initial states
observe        What is read off a set of weights: contract coefficients and products
plan           The sizes of a run: how much is done at once, and whether it fits into memory
run_folder     training in a folder of plans and checkpoints
measurements/  what claims measure on the full model: gradients, samples, observables, other laws
prompts/       prompts drawn and enumerated, as tensors
training/      the model, its start, and how it is trained: sizes, engines, steps, evaluation
"""
