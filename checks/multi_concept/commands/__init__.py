"""The commands of this theory: derive, draw, integrate, simulate, flow, certify, figures, transfer, conditions.

compute     Commands that compute: derive, draw, integrate, simulate, flow, certify
conditions  Commands about what sweeps found: conditions
draw        Commands that show a trained model: figures, and how it does on prompts that it was not trained on
"""
