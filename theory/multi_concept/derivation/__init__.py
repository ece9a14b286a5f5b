"""From the forward pass to the recursion: which blocks live, and the derivative of the risk in each.

closure        which blocks live, each with its reason; the levels by their hypotheses
derive         closure, risk, gradients and the recursion of a level
noisy_closure  Which blocks live at level N, each with its reason
noisy_rows     The table of prompts of level N: pure prompts in counts, and those with few other concepts
stages         Names for the stages of the forward pass and of its derivatives, put into the executed expressions and taken out again
"""
