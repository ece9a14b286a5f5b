"""Step 1, the decomposition: weights, penalty and gradient split under orthogonal idempotents.

algebra  of the family algebra: concept vectors and idempotents
penalty  The claim of the family algebra that the L2 penalty is a sum of squared coefficients
softmax  of the family algebra: softmax on a pure prompt
"""
