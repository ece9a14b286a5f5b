"""The mathematics: no torch, no randomness, no files.

setting       the Regime: every hypothesis, validated; the one thing shared with `sim`
functions     losses, activations, gate and the attention mean as SymPy functions; `elementwise` their NumPy forms
peirce        the Peirce calculus: operators as blocks E_st over named idempotents, for every number of concepts
idempotents   the same idempotents of concrete vectors, exact
closure       which blocks live, each with its reason; the levels by their hypotheses
forward       the forward pass of a pure prompt, written once; `span` that of any noise-free prompt
derivative    differentiation under symbolic sums
noise         the forward pass under low noise and few extras; `noise_closure` which blocks live there
staged        derivatives by stages, each step of the chain rule a small expression
derive        closure, risk, gradients and the recursion of a level
law           probabilities of prompts, in counts; `tail` on a window of counts, `enumeration` of numbered prompts
coefficients  full weights to coefficients and back to arrays
lower         from symbols to NumPy code; `named` evaluates what has too many letters for it; `fast` the cheaper form
integrate     the discrete and the stochastic recursion; `span_run` those of level Z, `noise_run` those of level N, from
              the table of prompts in `noise_rows`
ensemble      the stochastic recursion of many members side by side; `escape` when they leave the initial plateau
concepts      single concepts side by side, each with overlaps, penalty and step size of its own; `thresholds` in width and
              penalty, from their starts alone
linear_noise  how far they stray from the recursion, with its gates as they are; `gate_noise` with gates that the noise moves
curvature     drift, noise of one prompt and curvature of the population risk; `bounds` an exponential bound on the error of SGD
gate_flow     the gradient flow across gate events; `flow` the recursion beside it
certified     the recursion in balls, with a proven error bar; `numbers` runs the lowered source over other numbers
show          LaTeX, text and JSON of the executed objects, by article, document, notation, printing, prose and stages
transfer      a trained model on prompts of other laws, in closed form
bayes         the posterior of the query's label under noise, and the Bayes error: no model is better
prompt_gradients  the gradients of section 3 as stated, for any prompt
slow          the exact, dense twin
"""
