"""The report of a verification, and the comparison of several: HTML files that need nothing else (THEORY.md sections 7 and 8).

run         what a report is made from, in a folder that it can be made from again
steps       the steps of the argument, and which claims belong to each
argument    claims as the page shows them: in their steps, with what they rest on and what rests on them
summary     what holds, what does not, and under which hypotheses, in words
slack       how much slack the conditions have, from the sweeps that polyseme ships
evidence    rows of evidence as tables
numerals    numbers, wall times and identifiers as a person reads them
mathematics LaTeX as MathML
drawing     figures among other figures in one page, and a small one for each claim
palette     the colours, light and dark
page        one verification as a page
compare     several of them side by side
"""
