"""The law of prompts, as tables of prompts with their probabilities.

enumeration  All noise-free prompts of a law, up to the order of their demonstrations, with their probabilities
law          The prompt law in counts: how likely a pure prompt is, as formulas and in numbers
tail         The prompt law on a window of counts: the rest of a long binomial sum, with a certificate
"""
