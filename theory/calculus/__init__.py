"""What any theory is derived with: Peirce calculus, functions, expectations under sums, differentiation, printing.

derivative   differentiation under symbolic sums, over the index letters that a theory gives
elementwise  Numerically stable NumPy forms of the model's functions, by their SymPy names
functions    losses, activations, gate and the attention mean as SymPy functions; `elementwise` their NumPy forms
idempotents  the same idempotents of concrete vectors, exact
named        SymPy expressions over named axes, evaluated node by node: the other boundary from symbols to arrays
peirce       the Peirce calculus: operators as blocks E_st over named idempotents, for every number of concepts
printing     LaTeX and text of SymPy expressions, in the order that a theory gives, and broken into lines
staged       derivatives by stages, each step of the chain rule a small expression
"""
