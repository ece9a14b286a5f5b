"""What is drawn, each figure from recorded numbers alone, and the one style of them all.

style       matplotlib without a trace, and files whole or not at all
learning    learning dynamics: theory as a line over a band of simulations
error_curve the error curve and its local rates
noise       SGD beside the recursion, and where the bound's hypotheses hold
margins     what was measured against what was allowed
graph       what rests on what
"""
