"""Sweeps over regimes: where do claims hold?

grid        GRID.toml: a regime file some of whose keys vary, and what is judged at each point
axes        what one key goes through: values, a range, a formula
design      the points: grids, random and low-discrepancy designs
task        one point, named by all that its outcome depends on, and the work itself
pools       processes of this machine or workers of a Dask cluster, with futures of the standard library
folder      one file for each point, whole or absent
run         the sweep itself
table       the tidy table, in Parquet
scales      one direction of a map
mapped      a sweep read back for a map, or for a profile
boundaries  lines known beforehand: the theory's, and those of hypotheses
maps        a figure for each claim, with the numbers behind it
brackets    between which scanned values a threshold lies
scans       what tables of sweeps scan, and their places
agreement   what they say of the closed forms
slack       what hypotheses ask beside what was needed
conditions  all that, as it is kept
told        all that, in words and tables
"""
