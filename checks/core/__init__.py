"""The verification core, which knows no theory: claims, evidence, rules, verdicts, searches, sweeps, audit, report.

budget        the false-alarm budget, and how it is divided
choice        which claims and hypotheses a user names, by pattern, id and key
claim         Claim, Hypothesis, Rule, Verdict
context       what claims measure with: one regime, and what has been computed for it once
differences   in what a regime differs from the default one: in words, and as a file
evaluation    hypotheses, evidence, rule and negative control of one claim, as a record
evidence      rows of raw measurements
falsify       the search for a counterexample
library       verify, falsify and sweep as functions
outcome       what becomes of a claim in one regime when only its rule is asked
own_claims    claims from users' files
parallel      claims about no regime, tried in processes of their own
provenance    what verdicts rest on, over the graph of claims
records       reading records: which part decides, which controls were tried
search_space  random regimes for searches and property tests, from what a theory declares
spelling      what somebody meant who mistyped a name
terminal      errors as sentences, and progress bars
theories      finding theories: by entry point, by the key of a regime file, or in a user's file
theory        what the core asks of a theory: Theory and its parts
user_files    loading users' Python files, with one sentence for all that is wrong
verify        a whole verification: figures, records, report
audit/        the audit: wrong theorems are planted, and what is caught is counted; true ones are judged thousands of times
commands/     the commands that work on any theory
figures/      figures of any theory: style, maps and profiles of sweeps, margins, the graph of claims
report/       the report of a verification, and the comparison of several: HTML files that need nothing else
rules/        rules: evidence in, judgement out. Every threshold of the suite stands in this folder
sweeps/       sweeps over regimes: where do claims hold?
"""
