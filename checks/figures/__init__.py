"""What is drawn, each figure from recorded numbers alone, and the one style of them all.

style       matplotlib without a trace, and files whole or not at all
palette     every colour
bands       theory as a line over median and band of many seeds
learning    learning dynamics: loss, error, attention, products
transfer    out of distribution: a row of panels for each other law
error_curve the error curve and its local rates
noise       SGD beside the recursion, and where the bound's hypotheses hold
margins     what was measured against what was allowed
graph       what rests on what
map_frame   maps over two keys of a sweep: panel, lines known beforehand, legend
verdict_map where a claim holds
number_map  its margins with their contours, or a fact
profile_frame    the same over the only key of a sweep: rows, vertical lines
verdict_profile  the share supported at each value, with its interval
number_profile   margins with their median, or a fact with its mean
symbols     what an axis says for a key of a regime
"""
