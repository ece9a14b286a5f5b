"""Seeds of the stochastic reduced recursion.

deviations  such seeds beside the path of descent: how far apart they are
ensembles   drawn and run in processes, and the error curve that they have
splitting   the same for errors too rare to be counted
"""
