"""What any simulation uses: counter-based random numbers, processes, devices, runs that survive.

device      Where a run happens and in which precision
memory      How the C library treats memory that a step has freed
philox      Random numbers by counter: Philox4x32-10
processes   chunks side by side, and how they stop
run_folder  plans and checkpoints of runs, whole or absent
streams     What randomness is for: purposes and variables, and NumPy's generators of what is drawn once
"""
