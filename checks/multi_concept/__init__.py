"""The multi-concept theory on trial: what the core asks of a theory, its claims, figures and commands.

boundaries            the lines that the theory predicts on maps
context               the only door to sim
controls              wrong theories that the checks must refute
curves                the trajectories behind the figure of learning dynamics
documentation         the generated parts of docs/
drawings              the two figures by one command
hypotheses            Hypotheses that claims share, as predicates on the regime
phase_diagrams        which share of such concepts is learned, over width, number and penalty
presentation          what a verification shows besides verdicts: trajectories, figures, equations
report_figures        its figures, with their captions
search                what searches and property tests draw regimes from
steps                 the steps of the argument, and which claims and figures belong to each
theory                the theory as the core asks for it: THEORY
audit/                the errors that an audit plants in this theory
commands/             the commands of this theory: derive, draw, integrate, simulate, flow, certify, figures, transfer
figures/              the figures of this theory
out_of_distribution/  other laws than that of training: what a trained model does there, in theory and in simulation
round_off/            round-off analysis: how far two computations of one quantity may be apart
sampling/             regimes and concepts from declared laws
stochastic/           seeds of the stochastic reduced recursion
"""
