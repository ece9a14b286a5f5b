"""How much slack the conditions of the claims have, from sweeps across their edges.

agreement   what they say of the closed forms
brackets    between which scanned values a threshold lies
conditions  all that, as it is kept
formatting  all that, in words and tables
report      how much slack the conditions have, from the sweeps that polyseme ships
scans       what tables of sweeps scan, and their places
slack       what hypotheses ask beside what was needed
"""
