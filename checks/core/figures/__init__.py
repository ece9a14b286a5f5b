"""Figures of any theory: style, maps and profiles of sweeps, margins, the graph of claims.

bands            theory as a line over median and band of many seeds
graph            what rests on what
map_frame        maps over two keys of a sweep: panel, lines known beforehand, legend
maps             a figure for each claim, with the numbers behind it
margins          what was measured against what was allowed
number_map       its margins with their contours, or a fact
number_profile   margins with their median, or a fact with its mean
palette          every colour
profile_frame    the same over the only key of a sweep: rows, vertical lines
style            matplotlib without a trace, and files whole or not at all
verdict_map      The map of verdicts: where a claim holds, over two keys of a sweep
verdict_profile  the share supported at each value, with its interval
"""
