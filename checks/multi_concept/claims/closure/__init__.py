"""Step 3, which blocks live, and the exact reduction.

balance         about W_Q W_Q^T - W_K W_K^T, the balance of keys and queries
closure         of the family closure: which blocks live
complement      about what level B leaves out
forms           about the forms that the recursion is run in: flow, balls, cheaper evaluation
invariants      about what changes nothing in training: relabelled concepts, rotated spaces, shut neurons
levels          about level Z, and about which blocks the full model itself makes live
random_regimes  Level B in random regimes, its drift and its runs, so that no verdict hangs on the numbers of one
sizes           about the number of demonstrations and the batch size
trajectories    of the family closure: whole trajectories and their limit
"""
