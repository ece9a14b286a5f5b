"""Running the reduced system: recursion, ensembles, gradient flow, certified runs.

certified   The recursion in balls, with a proven error bar
concepts    Single concepts side by side, each with overlaps, penalty and step size of its own
ensemble    The stochastic recursion of many members side by side
flow_limit  The recursion beside its gradient flow: both ends of a stretch, and how long it is smooth
gate_flow   The gradient flow across gate events
integrate   Run level B: the discrete recursion, and its stochastic form
noisy_run   Run level N: the recursion under low noise and few extras, from its table of prompts
run         The reduced theory of a regime from a start: the level that fits is chosen, and what fits none is refused
span_run    Run level Z: any noise-free prompts, in all coefficients on span M
"""
