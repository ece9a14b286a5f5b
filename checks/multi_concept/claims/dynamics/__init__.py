"""Step 4, what training does: who is learned, in which order, and where it ends.

attention_growth  about the correct attention weight
concepts          of the family dynamics: what its runs of single concepts have to do with the full model
critical_penalty  about the penalty: up to which one concepts are learned
dynamics          of the family dynamics: what training reaches, and where it comes to rest
half_times        of the family dynamics: which of attention and MLP comes first, by half-times
predicted         about one start: the thresholds predict which of its concepts are learned
sgd_learns        about the full model under SGD: every concept is learned
signs             about what keeps its sign and what grows: the concept's own products, and their complement
width             about the width: which concepts are learned, from their initial gates alone
"""
