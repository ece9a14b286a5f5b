"""Reference implementations: the same quantities by brute force, for comparison.

dense             the exact, dense reference
prompt_gradients  the gradients of section 3 as stated, for any prompt
"""
