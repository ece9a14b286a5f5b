"""What any theory is derived with: Peirce calculus, functions, differentiation under sums, evaluation, printing.

compiled         derived expressions as one function of machine code, called with arrays
derivative       differentiation under symbolic sums, over the index letters that a theory gives
elementwise      numerically stable NumPy forms of the model's functions, by their SymPy names
functions        losses, activations, gate and the attention mean as SymPy functions
idempotents      orthogonal idempotents of concrete vectors, in exact arithmetic
loops            statements as the source of a C function: fused loops, the innermost vectorised
named            SymPy expressions over named axes, evaluated node by node, with any number of index letters
native           C sources to machine code, kept in the user's cache folder
peirce           the Peirce calculus: operators as blocks E_st over named idempotents, for every number of concepts
printing         LaTeX and text of SymPy expressions, in the order that a theory gives, and broken into lines
staged           derivatives by stages, each step of the chain rule a small expression
staged_function  stages and outputs as a function of arrays: compiled, or evaluated by name
statements       derived expressions as statements: named values and totals over letters
"""
