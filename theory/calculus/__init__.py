"""What any theory is derived with: Peirce calculus, functions, differentiation under sums, evaluation, printing.

derivative   differentiation under symbolic sums, over the index letters that a theory gives
elementwise  Numerically stable NumPy forms of the model's functions, by their SymPy names
functions    Losses, activations, gate and the attention mean as SymPy functions
idempotents  Orthogonal idempotents of concrete vectors, in exact arithmetic
named        SymPy expressions over named axes, evaluated node by node, with any number of index letters
peirce       the Peirce calculus: operators as blocks E_st over named idempotents, for every number of concepts
printing     LaTeX and text of SymPy expressions, in the order that a theory gives, and broken into lines
staged       derivatives by stages, each step of the chain rule a small expression
"""
