"""The report of a verification, and the comparison of several: HTML files that need nothing else.

argument     claims as the page shows them: in their steps, with what they rest on and what rests on them
compare      several of them side by side
drawing      figures among other figures in one page, and a small one for each claim
evidence     rows of evidence as tables
mathematics  LaTeX as MathML, which browsers draw themselves
numerals     numbers, wall times and identifiers as a person reads them
page         one verification as a page
palette      the colours, light and dark
run          what a report is made from, in a folder that it can be made from again
steps        the steps of the argument, and which claims belong to each
summary      what holds, what does not, and under which hypotheses, in words
"""
