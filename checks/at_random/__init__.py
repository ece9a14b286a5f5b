"""Regimes and concepts from declared laws.

strategies  small regimes for searches and property tests, simplest first
regimes     for claims about any regime
concepts    for claims about the dynamics, and what is seen of them
"""
