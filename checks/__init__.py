"""Claims, evidence, verdicts, figures and the report: never trains, never imports torch.

claim       Claim, Hypothesis, Rule, Verdict
evidence    rows of raw measurements
rules/      how evidence becomes a verdict, and every threshold
budget      the false-alarm budget, and how it is divided
ledger      what verdicts rest on, over the graph of claims
claims/     one file per family, and the registry CLAIMS
controls    wrong theories that the checks must refute
laboratory  the only door to sim
stochastic/ seeds of the stochastic reduced recursion: ensembles, rare errors, how far from the path of descent
conditioning    what round-off is relative to
transfer/   other laws than that of training, and what a trained model does there
gallery     the two figures by one command
pathwise    how far two runs of one recursion may be apart
court       hypotheses, evidence, rule and wrong twin of one claim, as a record
own_claims  claims from users' files
at_random/  regimes and concepts from declared laws, for claims, searches and property tests
phase_diagrams  which share of such concepts is learned, over width, number and penalty
falsify     the search for a counterexample
audit/      planted errors and true claims, and what is caught of them
verify      a whole verification: figures, records, report
exhibits    its figures, with their captions
sweeps/     claims judged at many regimes: designs, tasks, local processes or a cluster, the table
aside       claims about no regime, tried in processes of their own
curves      the trajectories behind the figure of learning dynamics
figures/    what is drawn
report/     the page that is written, and several runs side by side
files       files that are whole or absent
spelling    what somebody meant who mistyped a name
changed     in what a regime differs from the default one: in words, and as a file
runs/       runs that survive: plans and checkpoints; chunks side by side; initial states
cli, commands/   the command line
terminal    errors as sentences, and progress bars
readme      the generated parts of the README
"""
