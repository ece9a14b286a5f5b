"""What any simulation uses: counter-based random numbers, processes, devices.

device     Where a run happens and in which precision
memory     How the C library treats memory that a step has freed
philox     Random numbers by address: Philox4x32-10
processes  chunks side by side, and how they stop
streams    What randomness is for: purposes and variables, and NumPy's generators of what is drawn once
"""
