"""The experiments: full models, trained as they are defined. Nothing here knows a reduced theory.

ensemble/       what any simulation uses: counter-based random numbers, processes, devices
multi_concept/  the one-layer transformer of the multi-concept theory
"""
