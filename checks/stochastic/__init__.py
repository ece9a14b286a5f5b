"""Seeds of the stochastic reduced recursion.

ensembles   drawn and run in processes, and the error curve that they have
splitting   the same for errors too rare to be counted
deviations  such seeds beside the path of descent: how far apart they are
"""
