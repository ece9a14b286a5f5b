"""The commands of this theory: derive, draw, integrate, simulate, flow, certify, figures, transfer.

compute  Commands that compute: derive, draw, integrate, simulate, flow, certify
draw     Commands that show a trained model: figures, and how it does on prompts that it was not trained on
"""
