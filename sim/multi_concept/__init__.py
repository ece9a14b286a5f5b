"""The full transformer of the multi-concept theory, trained as it is defined.

initial_file   reading and checking initial states
run_folder     training in a folder of plans and checkpoints
measurements/  what claims measure on the full model: gradients, samples, observables, other laws
prompts/       prompts drawn and enumerated, as tensors
training/      the model, its start, and how it is trained: sizes, engines, steps, evaluation
"""
