"""The figures of this theory.

error_curve          The figure of the error curve: what was counted, split, predicted and bounded, on a logarithmic axis
fluctuation          SGD beside the recursion, and where the bound's hypotheses hold
learning             learning dynamics: loss, error, attention, products
out_of_distribution  out of distribution: a row of panels for each other law
thresholds           The figure of thresholds: which concepts are learned, over width, number and penalty, and which of attention and MLP is first
"""
