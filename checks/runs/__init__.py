"""Runs of the simulation that survive.

folder      plans and checkpoints, whole or absent
processes   chunks side by side, and how they stop
initial_state   reading and checking initial states
"""
