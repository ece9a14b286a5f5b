"""Claims, evidence, verdicts, figures and the report: never trains, never imports torch.

claim       Claim, Hypothesis, Rule, Verdict
evidence    rows of raw measurements
rules/      how evidence becomes a verdict, and every threshold
budget      the false-alarm budget, and how it is divided
ledger      what verdicts rest on, over the graph of claims
claims/     one file per family, and the registry CLAIMS
controls    wrong theories that the checks must refute
laboratory  the only door to sim
ensembles   seeds of the stochastic reduced recursion, drawn, run in processes, and the error curve that they have
splitting   the same for errors too rare to be counted
deviations  such seeds beside the path of descent: how far apart they are
conditioning    what round-off is relative to
scenarios   laws on which a trained model is tested
transfer    a model trained once, its coefficients beside its weights, on such a law
transfer_curves     learning curves on such laws, the ensemble beside the theory
transfer_table      one trained model on many of them, in a table
gallery     the two figures by one command
pathwise    how far two runs of one recursion may be apart
court       hypotheses, evidence, rule and wrong twin of one claim, as a record
own_claims  claims from users' files
random_regimes  regimes for claims about any regime
random_concepts concepts for claims about the dynamics, from a declared law, and what is seen of them
phase_diagrams  which share of them is learned, over width, number and penalty
strategies, falsify   random regimes, and the search for a counterexample
audit/      planted errors and true claims, and what is caught of them
verify      a whole verification: figures, records, report
exhibits    its figures, with their captions
sweeps/     claims judged at many regimes: designs, tasks, local processes or a cluster, the table
aside       claims about no regime, tried in a second process
curves      the trajectories behind the figure of learning dynamics
figures/    what is drawn
report/     the page that is written, and several runs side by side
files       files that are whole or absent
spelling    what somebody meant who mistyped a name
changed     in what a regime differs from the default one: in words, and as a file
run_folder, processes  runs that survive: plans and checkpoints; chunks side by side
initial_state   reading and checking initial states
cli, commands/   the command line
terminal    errors as sentences, and progress bars
readme      the generated parts of the README
"""
