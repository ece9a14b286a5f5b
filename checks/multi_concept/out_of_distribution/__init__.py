"""Other laws than that of training: what a trained model does there, in theory and in simulation.

curves     learning curves on such laws, the ensemble beside the theory
models     a model trained once, its coefficients beside its weights, on such a law
scenarios  laws on which a trained model is tested
table      one trained model on many of them, in a table
"""
