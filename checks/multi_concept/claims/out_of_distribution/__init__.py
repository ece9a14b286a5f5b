"""Step 7, out of distribution.

laws        about other laws of words and labels: what is predicted, what keeps the skill, what breaks it
lengths     about prompts of other lengths: closed forms for every L, and the odds at which a match is outvoted
noisy_laws  about tests with noise and several concepts in a word, and about models that were trained with them
robustness  about what carries over to other laws, and how far
"""
