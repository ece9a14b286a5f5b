"""What follows at the end of training: thresholds, the Bayes error, prompts of other laws.

bayes                the posterior of the query's label under noise, and the Bayes error: no model is better
out_of_distribution  a trained model on prompts of other laws, in closed form
thresholds           Which concepts are learned: thresholds in the width and in the penalty
"""
