"""Running the reduced system: recursion, ensembles, gradient flow, certified runs.

certified   the recursion in balls, with a proven error bar; `numbers` runs the lowered source over other numbers
concepts    single concepts side by side, each with overlaps, penalty and step size of its own; `thresholds` in width and
ensemble    the stochastic recursion of many members side by side; `escape` when they leave the initial plateau
flow_limit  The recursion beside its gradient flow: both ends of a stretch, and how long it is smooth
gate_flow   the gradient flow across gate events; `flow` the recursion beside it
integrate   the discrete and the stochastic recursion; `span_run` those of level Z, `noise_run` those of level N, from
noisy_run   Run level N: the recursion under low noise and few extras, from its table of prompts
run         the reduced theory of a regime from a start: the level that fits is chosen, and what fits none is refused
span_run    Run level Z: any noise-free prompts, in all coefficients on span M
"""
