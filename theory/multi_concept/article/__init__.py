"""The derived recursion for a reader: text, LaTeX article, JSON.

article   A derived recursion as a LaTeX article: setting, blocks, forward pass, risk, derivatives, recursion
document  A derived recursion as JSON with a schema
notation  What the letters of the printed equations mean, and the fates of blocks by reason
prose     The words of the article: what a referee reads between the printed formulas
show      LaTeX, text and JSON of the executed objects, by article, document, notation, printing, prose and stages
"""
