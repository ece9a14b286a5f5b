"""Sweeps over regimes: where do claims hold?

axes        what one key goes through: values, a range, a formula
boundaries  lines known beforehand: the theory's, and those of hypotheses
design      the points: grids, random and low-discrepancy designs
folder      one file for each point, whole or absent
grid        GRID.toml: a regime file some of whose keys vary, and what is judged at each point
mapped      a sweep read back for a map, or for a profile
pools       processes of this machine or workers of a Dask cluster, with futures of the standard library
run         the sweep itself
scales      one direction of a map
table       the tidy table, in Parquet
task        one point, named by all that its outcome depends on, and the work itself
"""
