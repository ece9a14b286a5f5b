"""Regimes and concepts from declared laws.

concepts  for claims about the dynamics, and what is seen of them
regimes   for claims about any regime
"""
