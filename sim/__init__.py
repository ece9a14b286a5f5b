"""The experiments: full models, trained as they are defined. Nothing here uses a reduced theory.

ensemble/       what any simulation uses: counter-based random numbers, processes, devices, runs that survive
multi_concept/  the one-layer transformer of the multi-concept theory
"""
