"""From the derivation to a figure, as a marimo notebook.

`make notebook` opens it, `python docs/walkthrough.py` runs it, tests/test_walkthrough.py holds what it says. Every number in
its prose is computed.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="polyseme: from the derivation to a figure")

with app.setup:
    import os

    # As in polyseme.checks.command_line: one thread, and SymPy in plain Python, both chosen before they are imported.
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_variable, "1")
    os.environ.setdefault("SYMPY_GROUND_TYPES", "python")

    import base64
    import tempfile
    from pathlib import Path

    import marimo as mo
    import numpy as np
    import sympy as sp
    from sympy.polys.matrices import DomainMatrix

    from polyseme.checks.core.choice import select
    from polyseme.checks.core.evaluation import evaluate_claim
    from polyseme.checks.core.figures.style import save_figure, style
    from polyseme.checks.core.rules.exact import UNIT, RoundOff
    from polyseme.checks.multi_concept.claims import CLAIMS
    from polyseme.checks.multi_concept.context import TrainingContext
    from polyseme.checks.multi_concept.curves import theory_curves
    from polyseme.checks.multi_concept.figures.learning import learning_dynamics
    from polyseme.checks.multi_concept.out_of_distribution.models import answered_wrongly
    from polyseme.checks.multi_concept.out_of_distribution.scenarios import of_length, scenario, training_law
    from polyseme.checks.multi_concept.round_off.paths import COLLECTED, evidence_of_paths
    from polyseme.theory.calculus.idempotents import Idempotents, law_residuals, resolve
    from polyseme.theory.calculus.peirce import Frame, Letter
    from polyseme.theory.multi_concept.article.notation import fates
    from polyseme.theory.multi_concept.article.show import latex_equations, notation
    from polyseme.theory.multi_concept.derivation.closure import LEVELS, closure
    from polyseme.theory.multi_concept.derivation.derive import derive
    from polyseme.theory.multi_concept.dynamics.run import integrate
    from polyseme.theory.multi_concept.numerics.lower import system_of
    from polyseme.theory.multi_concept.outcome.out_of_distribution import outvoting_odds, predict, reduced_model
    from polyseme.theory.multi_concept.regime import Regime

    def shown(figure, name: str, alt: str):
        """A figure inline, as the SVG that `save_figure` would write for a page."""
        with tempfile.TemporaryDirectory() as folder:
            svg, _ = save_figure(figure, Path(folder), name)
            data = base64.b64encode(svg.read_bytes()).decode()
        return mo.Html(f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}" style="max-width: 100%">')


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # From the derivation to a figure

    **The setting** (THEORY.md, section 1). Words are polysemous: concept $k$ has two features $\mu_k^+, \mu_k^-$ on words and two
    labels $q_k^+, q_k^-$, all of unit length, with $\langle \mu_k^+, \mu_k^- \rangle = \kappa_x$ and $\langle q_k^+, q_k^- \rangle = \kappa_y$;
    different concepts are orthogonal. Half sums and half differences make them orthogonal within a concept too:

    $$\mu_k^e = a_k + e\, b_k, \qquad q_k^e = c_k + e\, d_k, \qquad e \in \{+1, -1\}.$$

    A *prompt* draws a concept $k$, a sign $e$ for the query and a sign $e_l$ for each of $L$ demonstrations. On a *pure* prompt
    $x_l = \mu_k^{e_l}$, $y_l = q_k^{e_l}$ and $x_{\text{query}} = \mu_k^e$. Under the law `match` at least one demonstration has the query's
    sign. The model is one layer of softmax attention and a ReLU MLP, and is to output the sign $e$:

    $$p = \operatorname{softmax}_l\left((W_K x_l)^\top W_Q\, x_{\text{query}}\right), \qquad v = \sum_l p_l\, y_l, \qquad
    f = r^\top \operatorname{relu}(W_O v),$$

    trained on $\log(1 + \exp(-e f))$ plus an L2 penalty. A `Regime` holds all of this as validated numbers; it is the one thing that the
    theory and the simulation share.
    """)
    return


@app.cell
def _():
    regime = Regime().replace(
        concepts={"K1": 2, "K2": 1, "d_x": 8, "d_y": 6, "kappa_x": 0.2, "kappa_y": 0.3},
        prompt={"L": 4, "law": "match"},
        model={"m": 16, "sigma_0": 0.3, "sigma_1": 0.1},
        training={"steps": 400, "batch": "population", "lam": 2e-4, "gamma": 1000.0, "record_every": 5},
        ensemble={"device": "cpu", "engine": "autograd"},
    )
    _concepts, _model = regime.concepts, regime.model
    mo.md(
        f"{_concepts.K1} concepts in words of dimension {_concepts.d_x}, {regime.prompt.L} demonstrations, {_model.m} neurons: "
        f"{2 * _concepts.d_x**2 + _model.m * _concepts.d_y} trained weights. `population` means the exact expectation over prompts; "
        "minibatches come later."
    )
    return (regime,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Idempotents and Peirce blocks

    For each unit vector $\hat s$ among $\hat a_k, \hat b_k, \hat\nu_r$ let $P_s = \hat s \hat s^\top$, and let $P_\perp$ be what is left of the
    identity. These are orthogonal idempotents, so every operator splits into blocks $W = \sum_{s,t} P_s W P_t$. A block between two unit
    vectors is a number times $E_{st} = \hat s \hat t^\top$, and blocks multiply like matrix units, $E_{st} E_{uv} = \delta_{tu} E_{sv}$.
    `polyseme.theory.calculus.peirce` computes with them for every number of concepts at once: $k$ stays a letter.
    """)
    return


@app.cell
def _():
    _k, _j = sp.symbols("k j", integer=True, positive=True)
    _K1, _K2, _d = sp.symbols("K_1 K_2 d_x", integer=True, positive=True)
    # The laws are checked when the frame is made.
    frame = Frame(families={"a": Letter(_k, _K1), "b": Letter(_k, _K1), "nu": Letter(_j, _K2)}, dimension=_d)
    a, b = frame.direction("a"), frame.direction("b")
    b_other = frame.direction("b", fresh=True)  # b_k', of a concept that may be another
    w, x, y, z = sp.symbols("w_aa w_ab w_ba w_bb")
    W = frame.block(a, a, w) + frame.block(a, b, x) + frame.block(b, a, y) + frame.block(b, b, z)
    peirce_laws = {
        "E_ab E_ba = E_aa": (frame.block(a, b) @ frame.block(b, a)).equals(frame.block(a, a)),
        "E_ab E_ab = 0": (frame.block(a, b) @ frame.block(a, b)).equals(frame.zero()),
        "sum of P_s W P_t = W": sum((W.project(s, t) for s in (a, b) for t in (a, b)), frame.zero()).equals(W),
    }
    _rows = "\n".join(f"| `{_law}` | {_holds} |" for _law, _holds in peirce_laws.items())
    _norm, _tie = (
        sp.latex(sp.expand((W.transpose() @ W).trace())),
        sp.latex(frame.vector({b: 1}).dot(frame.vector({b_other: 1}))),
    )
    mo.md(
        f"| law | holds |\n|:--|:--|\n{_rows}\n\n"
        rf"The squared Frobenius norm is the sum over blocks, ${_norm}$, so the L2 penalty splits. Between two concepts, "
        rf"$\langle \hat b_k, \hat b_{{k'}} \rangle = {_tie}$."
    )
    return (peirce_laws,)


@app.cell
def _():
    # The same with numbers, over the rationals: two orthogonal vectors in three dimensions.
    vectors = {"a": [2, 1, 0], "b": [1, -2, 1]}
    projections = resolve(vectors)
    exact = Idempotents(projections=projections)  # ValueError unless the laws hold
    _W = DomainMatrix([[sp.QQ(entry) for entry in row] for row in ((2, 7, 6), (9, 5, 1), (4, 3, 8))], (3, 3), sp.QQ)
    _blocks = {s + t: exact.block(_W, s, t).to_Matrix() for s in exact.names for t in exact.names}
    split_is_exact = {
        "laws": all(left.is_zero_matrix for left in law_residuals(projections).values()),
        "sum": sum(_blocks.values(), sp.zeros(3)) == _W.to_Matrix(),
        "norms": sum(block.norm() ** 2 for block in _blocks.values()) == _W.to_Matrix().norm() ** 2,
    }
    _shown = {"W": _W.to_Matrix(), "P_a": projections["a"].to_Matrix(), "P_a W P_b": _blocks["ab"]}
    _equations = r",\quad ".join(f"{_left} = {sp.latex(_right)}" for _left, _right in _shown.items())
    _equations = _equations.replace(r"\\", r"\\[4pt]")  # room between rows of fractions
    _a, _b = (sp.latex(sp.Matrix([vector])) for vector in vectors.values())
    mo.md(
        f"The same in numbers, exactly, with ${_a}$ for $a$ and ${_b}$ for $b$:\n\n$${_equations}$$"
        f"\n\nThe {len(_blocks)} blocks add up to $W$: {split_is_exact['sum']}; their squared norms to that of $W$: {split_is_exact['norms']}."
    )
    return (split_is_exact,)


@app.cell
def _():
    living = {level: closure(LEVELS[level]) for level in ("S", "B", "Z")}
    _levels = "\n".join(
        f"| {_level} | {'; '.join(_known.hypotheses.words)} | {len(_known.live('W_Q'))} | {len(_known.live('W_K'))} | {_known.across} |"
        for _level, _known in living.items()
    )
    mo.md(
        "## Which blocks live\n\nStart from the blocks that are not zero, add each that the expected gradient reaches, stop when none "
        "is added. A block is dead only if a product of blocks or a symmetry proves it, and is added only if the gradient that SymPy "
        "derives is not zero there. The levels of the theory are nothing but hypotheses, and the blocks that this finds:\n\n"
        "| level | hypotheses | kinds in $W_Q$ | in $W_K$ | across concepts |\n|:--|:--|:--|:--|:--|\n"
        f"{_levels}"
    )
    return (living,)


@app.cell
def _():
    _fates = "\n".join(
        f"| ${_matrix}$ | {', '.join(' '.join(_block) for _block in _blocks)} | {'lives' if _lives else 'dead'} | {_reason} |"
        for _matrix, _lives, _blocks, _reason in fates(derive("B"))
    )
    mo.md(
        "Level B, block by block (a prime: of another concept or feature; `perp`: the rest of the space):\n\n"
        f"| matrix | blocks | fate | why |\n|:--|:--|:--|:--|\n{_fates}"
    )
    return


@app.cell
def _():
    recursion = derive("B")
    _equations = "\n\n".join(
        f"$${_left} {_relation} {_right}$$" for _left, _relation, _right in latex_equations(recursion)
    )
    _letters = "\n".join(f"| ${_symbol}$ | {_meaning} |" for _symbol, _meaning in notation(recursion))
    mo.md(
        "## The recursion\n\n`derive` writes the forward pass of a pure prompt in coefficients and differentiates the expected loss. "
        f"The state has {len(recursion.state)} families of coefficients. What follows is printed from the object that is compiled "
        f"and run below; nothing is typed.\n\n{_equations}\n\n| letter | meaning |\n|:--|:--|\n{_letters}"
    )
    return


@app.cell
def _(regime):
    context = TrainingContext(regime)  # the one door from checks to the simulation
    start = context.start_of(context.member)  # W_Q, W_K, W_O, r and the dictionaries M, Q
    theory = integrate(regime, start)
    _right = theory["step"][theory["error"] == 0]
    mo.md(
        "## From a start to a trajectory\n\nA start is drawn, its coefficients are read off, and the recursion is run from there. "
        f"In {regime.training.steps} steps the correct attention weight goes from {theory['attention'][0]:.3f} to "
        f"{theory['attention'][-1]:.4f}, the loss from {theory['loss'][0]:.3f} to {theory['loss'][-1]:.3f}; the 0-1 error, "
        f"{theory['error'][0]:.2f} at the start, is {theory['error'][-1]:.2g} at the end "
        + (f"(first zero at step {_right[0]})." if _right.size else "(never zero).")
    )
    return context, start, theory


@app.cell
def _(context, regime, start, theory):
    full = context.train(regime, start)  # all weights, autograd, nothing reduced
    coefficients = ("W_Q_blocks", "W_K_blocks", "alpha", "beta")
    differences = {
        _name: float(np.abs(full[_name] - theory[_name]).max() / np.abs(full[_name]).max()) for _name in coefficients
    }
    # Evidence holds numbers, the rule holds the threshold: a bound counted from steps, sums and the growth of a nudge.
    evidence = evidence_of_paths(context, "walkthrough", regime, start, full, system_of, system_of)
    bound = evidence.rows[0].roundings * UNIT
    judgement = RoundOff(reason=COLLECTED).judge(evidence, level=context.level)
    _rows = "\n".join(f"| `{_name}` | {_value:.1e} |" for _name, _value in differences.items())
    mo.md(
        "## The full model\n\nNow the transformer itself, by descent on the exact expected loss, from the same weights. Largest "
        "difference from the recursion over all records, relative to the largest coefficient:\n\n| coefficient | difference |\n|:--|:--|\n"
        f"{_rows}\n\nRound-off may make it {bound:.1e}: {COLLECTED}. A nudge of the start grows by "
        f"{evidence.facts.growth_of_a_nudge} here. The rule's verdict: **{judgement.verdict}** ({judgement.sentence})."
    )
    return bound, differences, full, judgement


@app.cell
def _(context, regime, start, theory):
    minibatch = regime.replace(training={"batch": 16}, ensemble={"seeds": 32, "engine": "analytic"})
    sgd = context.train(minibatch, start)  # one start, 32 streams of prompts
    _n_c, _n_d = (np.sqrt((1 + _sign * regime.concepts.kappa_y) / 2) for _sign in (1, -1))
    # The largest pre-activation of a neuron on the labels of a concept; not above 0, it is shut for all of them.
    _shut = _n_c * sgd["alpha"][:, -1] + _n_d * np.abs(sgd["beta"][:, -1]) <= 0
    _dead = np.stack([_shut[:, _sign * start["r"] > 0].all(axis=1) for _sign in (1, -1)]).any(axis=(0, 2))
    _wrong = sgd["error"][:, -1] > 0
    mo.md(
        f"## Minibatches\n\nThe last figure shows {minibatch.ensemble.seeds} runs of SGD with {minibatch.training.batch} prompts a step as a band around the recursion. "
        f"At the end their median loss is {np.median(sgd['loss'][:, -1]):.3f}, that of the recursion {theory['loss'][-1]:.3f}. Of these runs, {_wrong.sum()} still err on some prompt at the end. In {_dead.sum()} runs every neuron "
        f"of one sign of $r$ is shut on all labels of some concept, {(_dead & _wrong).sum()} of them among those that err: where no gate is open there is no "
        "gradient, so such a concept stays lost. The mean recursion cannot show that; docs/error_curve.md puts a number on it."
    )
    return minibatch, sgd


@app.cell
def _(context):
    (claim,) = select("closure/population_descent_equals_level_b", CLAIMS)
    record = evaluate_claim(claim, context, replay="polyseme verify REGIME.toml")
    _part = record["parts"][0]
    _control = _part["controls"][0]
    mo.md(
        f"## A claim on trial\n\n`{claim.id}`: {claim.statement}\n\nA claim has hypotheses, a measurement, a rule, and a *negative control*: a false "
        "statement that the same measurement and rule must refute, or the verdict is an error.\n\n"
        "| | states | measured | allowed | verdict |\n|:--|:--|:--|:--|:--|\n"
        f"| claim | as above | {_part['measured']:.1e} | {_part['bound']:.1e} | **{record['verdict']}** |\n"
        f"| its control | {_control['statement']} | {_control['measured']:.1e} | {_control['bound']:.1e} | **{_control['verdict']}** |\n\n"
        f"It started with other weights than ours: outside the concepts they are random, and level B does not care. "
        f"Replay: `{record['replay']}`."
    )
    return claim, record


@app.cell
def _(claim, regime):
    crowded = regime.replace(prompt={"p_extra": 0.1})  # other concepts in the words
    outside = evaluate_claim(claim, TrainingContext(crowded), replay="polyseme verify REGIME.toml")
    mo.md(
        f"With other concepts in the words (`p_extra` = {crowded.prompt.p_extra}) the same claim is **{outside['verdict']}**: "
        f"{outside['sentence']}. A claim outside its hypotheses is never counted as good."
    )
    return (outside,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Out of distribution

    Of $L$ demonstrations let $n_+$ have sign $+$. Softmax over two kinds of words depends on their counts alone, so on a test prompt of
    any length

    $$\bar e = \sum_l p_l e_l = \tanh\left(g + \tfrac12 \log\tfrac{n_+}{L - n_+}\right), \qquad v = c_k + \bar e\, d_k,$$

    with $g$, half the gap between the two logits, read off the coefficients. The reduced model therefore says what the full one
    will answer on prompts it was never trained on. How many demonstrations of the other sign outvote one that matches is a
    number of the trained model, whatever the length.
    """)
    return


@app.cell
def _(context, regime, start, theory):
    lengths = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 48, 64)
    _steps = theory["step"]
    moments = tuple(sorted({int(_steps[np.abs(_steps - _near).argmin()]) for _near in (60, 65, 75)}))  # while it learns
    law = training_law(regime, start)
    reduced = {}  # from the recursion alone
    weights = {}  # from the full model alone
    for _t in dict.fromkeys((*moments, regime.training.steps)):
        _at = theory["step"] == _t
        reduced[_t] = reduced_model(regime, start, {_name: _array[_at] for _name, _array in theory.items()})
        _run = context.train(regime.replace(training={"steps": _t, "record_every": _t}), start)
        weights[_t] = {_name: _run[f"final_{_name}"][None] for _name in ("W_Q", "W_K", "W_O")} | {"r": start["r"]}
    odds = {_t: outvoting_odds(_model, law.regime, law.M, law.Q)[0] for _t, _model in reduced.items()}
    _rows = "\n".join(
        f"| {_t} | " + " | ".join(f"{_x:.3g}" for _x in _odds.ravel()) + " |" for _t, _odds in odds.items()
    )
    _head = " | ".join(f"concept {_k + 1}, {_e}" for _k in range(regime.concepts.K1) for _e in "+-")
    mo.md(
        "Odds at which a match is outvoted, by concept and sign of the query, while the model learns:\n\n"
        f"| step | {_head} |\n|:--|{':--|' * (2 * regime.concepts.K1)}\n{_rows}"
    )
    return law, lengths, moments, odds, reduced, weights


@app.cell
def _(context, law, regime, reduced, weights):
    def tested(name, t):
        """0-1 error predicted and measured on a scenario after t steps, and the largest difference of the output f."""
        of = scenario(name).change(law)
        said = predict(reduced[t], of.regime, of.M, of.Q)
        seen = context.counted_outcomes(of.regime, weights[t], of.M, of.Q)
        measured = (answered_wrongly(seen["f"][0], of) * seen["probability"]).sum()
        gap = np.abs(said.f[0] - seen["f"][0])[seen["probability"] > 0].max()
        return float(said.error(of.answers)[0]), float(measured), float(gap / np.abs(said.f).max())

    scenarios = ("training", "length=64", "skewed", "word_signs", "concepts", "cone", "lying", "unseen_words")
    transfer = {_name: tested(_name, regime.training.steps) for _name in scenarios}
    _rows = "\n".join(
        f"| `{_name}` | {scenario(_name).statement} | {_said:.3g} | {_seen:.3g} | {_gap:.1e} |"
        for _name, (_said, _seen, _gap) in transfer.items()
    )
    mo.md(
        "The trained model under other laws; `polyseme.checks.multi_concept.out_of_distribution.scenarios` has more, and a plus sign joins them:\n\n"
        f"| scenario | what it is | error predicted | measured | difference of $f$ |\n|:--|:--|:--|:--|:--|\n{_rows}"
    )
    return tested, transfer


@app.cell
def _(lengths, moments, odds, regime, tested):
    by_length = {_t: np.array([tested(of_length(_L).name, _t)[:2] for _L in lengths]) for _t in moments}
    with style():
        from matplotlib.figure import Figure

        _figure = Figure(figsize=(7.0, 3.4), layout="constrained")
        _axes = _figure.add_subplot(xlabel="demonstrations in the test prompt", ylabel="0–1 error", xscale="log")
        for _t, _colour in zip(moments, ("#D55E00", "#0072B2", "#00755A"), strict=False):
            _said, _seen = by_length[_t].T
            _axes.plot(lengths, _seen, "o", ms=6, color=_colour, alpha=0.4, label=f"full model, step {_t}")
            _axes.plot(lengths, _said, lw=0.8, color=_colour, label=f"predicted, step {_t}")
        _axes.axvline(regime.prompt.L, color="#666666", lw=0.6, ls=":", label=f"trained with {regime.prompt.L}")
        _ticks = [_L for _L in lengths if _L & (_L - 1) == 0]
        _axes.set_xticks(_ticks, [str(_L) for _L in _ticks])
        _axes.set_yscale("symlog", linthresh=1e-9)  # logarithmic down to the rarest prompts, and 0 at its place
        _axes.set_yticks([0, 1e-8, 1e-6, 1e-4, 1e-2])
        _axes.set_ylim(-3e-10, 1)
        _axes.minorticks_off()
        _figure.legend(ncols=4, loc="outside upper left")
    _facts = "; ".join(
        f"step {_t}: smallest odds {odds[_t].min():.3g}, first error among these lengths at {lengths[int(np.argmax(by_length[_t][:, 1] > 0))]}"
        if by_length[_t][:, 1].any()
        else f"step {_t}: smallest odds {odds[_t].min():.3g}, no error at these lengths"
        for _t in moments
    )
    mo.vstack(
        [
            shown(
                _figure, "error_by_length", "0-1 error against the length of the test prompt, predicted and measured"
            ),
            mo.md(
                "With a single match among $L$ demonstrations the others stand $L - 1$ to one against it: the model errs as soon as these reach "
                f"the odds ({_facts}). Two matches fail at twice that number, and so on; where the odds are above one, so few matches are rare "
                "in a long prompt, and the error goes to zero."
            ),
        ]
    )
    return (by_length,)


@app.cell
def _(minibatch, sgd, start):
    _pure = theory_curves(minibatch, start)
    _figure = learning_dynamics(
        _pure,
        sgd,
        title="Learning dynamics: the recursion over SGD",
        note=f"Theory: level B from the common start. Simulation: {minibatch.ensemble.seeds} full transformers, minibatches of "
        f"{minibatch.training.batch} pure prompts. Test: exact expectation over prompts.",
        theory_label="theory: level B",
    )
    mo.vstack(
        [mo.md("## Theory over simulation"), shown(_figure, "walkthrough", "Learning dynamics, theory over simulation")]
    )
    return


@app.cell(hide_code=True)
def _(bound, differences, judgement, record, regime, theory, transfer):
    if not mo.running_in_notebook():  # run as a script, where no page is seen
        print(
            f"Over {regime.training.steps} steps the full model and the recursion differ by {max(differences.values()):.1e} of the largest "
            f"coefficient; round-off may make it {bound:.1e}: {judgement.verdict}.\n"
            f"The 0-1 error goes from {theory['error'][0]:.2g} to {theory['error'][-1]:.2g}; predicted and measured under other laws: "
            + ", ".join(f"{_name} {_said:.2g} and {_seen:.2g}" for _name, (_said, _seen, _) in transfer.items())
            + f".\nThe claim {record['id']} is {record['verdict']}, its negative control {record['parts'][0]['controls'][0]['verdict']}.\n"
            "To read it with equations, tables and figures, type: make notebook"
        )
    mo.md(r"""
    **Try next.** Change `regime` above: fewer neurons (`m`), a larger penalty (`lam`), `law = "iid"`; the cells below it follow. Then
    `polyseme verify` puts all claims to a regime file, `polyseme falsify` searches for one that breaks a claim, and
    docs/own_claims.md shows how to state your own.
    """)
    return


if __name__ == "__main__":
    app.run()
