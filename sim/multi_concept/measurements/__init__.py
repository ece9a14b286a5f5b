"""What claims measure on the full model: gradients, samples, observables, other laws.

drift                The drift of the full model under noise at given weights, by Monte Carlo: exact over concepts, signs, counts and extras
laws                 What claims about the fast step and its samplers measure: its gradients, and order parameters of many short runs
out_of_distribution  A trained model on prompts of another law and other dictionaries
probe                Measurements at given weights that checks ask for: gradients and samples, NumPy in and NumPy out
"""
