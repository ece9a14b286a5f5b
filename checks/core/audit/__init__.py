"""The audit: wrong theorems are planted, and what is caught is counted; true ones are judged thousands of times.

page         the audit as a table on the terminal, as JSON and as a page
rates        how often an error of 1% in a coefficient is caught, and the smallest that is caught 99 times in 100
trial        plants against claims: who catches what, and which plants are equivalent, with the proof
true_claims  true claims of known law, many times: false alarms and p-values
"""
