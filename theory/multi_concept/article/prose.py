"""The words of the article: what a referee reads between the printed formulas (docs/THEORY.md sections 1 to 4)."""

import re

import sympy as sp

from polyseme.regime import LEAK
from polyseme.theory.multi_concept.derivation.derive import Recursion

_TOKEN = re.compile(
    r"W_[QKO]\^\{(?P<row>\S+) (?P<column>\S+)\}"
    r"|(?P<word>\b(?:p_extra|p_plus)\b)"
    r"|(?P<greek>-?\b(?:alpha|beta|sigma_[xy]|nu|perp)\b'?)"
    r"|(?P<letter>(?<![\w'])-?[A-Za-z]_\w+|(?<![\w'])-?[b-zDILN]'{0,2}(?![\w'])|(?:(?<=share )|(?<=to ))a\b)"
    r"|(?P<sign>[<>=]|(?<= )[+-](?= )|[+-](?=\d))"
)


def escaped(words: str) -> str:
    """Plain words in LaTeX, with their symbols in math."""

    def shown(token: re.Match[str]) -> str:
        if token["row"]:
            return f"${token[0][:3]}^{{{kind(token['row'], token['column'])}}}$"
        if token["word"]:
            return rf"$p_{{\mathrm{{{token[0][2:]}}}}}$"
        if token["greek"]:
            sign = "-" * token[0].startswith("-")
            return rf"${sign}\{token[0].lstrip('-')}$"
        return f"${token[0]}$"

    pieces, end = [], 0
    for token in _TOKEN.finditer(words):
        pieces += [re.sub(r"([_%&#])", r"\\\1", words[end : token.start()]), shown(token)]
        end = token.end()
    pieces.append(re.sub(r"([_%&#])", r"\\\1", words[end:]))
    return re.sub(r"\$( ?)\$", r"\1", "".join(pieces))


def kind(row: str, column: str) -> str:
    """A kind of block in math: the directions of its row and its column."""
    return " ".join(rf"\{s}" if s.startswith(("nu", "perp")) else s for s in (row, column))


_LOSS = {"logistic": "logistic loss", "squared": "squared loss", "exponential": "exponential loss"}
_ACTIVATION = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "identity": "no activation (a linear MLP)"}


def opening(recursion: Recursion) -> str:
    """Preamble and title."""
    title = f"The coefficient recursion at level {recursion.level}"
    if recursion.truncated:
        title += ", truncated to the diagonal"
    loss = _LOSS.get(recursion.loss, f"{escaped(recursion.loss)} loss")
    activation = _ACTIVATION.get(recursion.activation, escaped(recursion.activation))
    return rf"""\documentclass[a4paper]{{article}}
\usepackage{{amsmath}}
\usepackage{{amssymb}}
\setlength{{\textwidth}}{{168mm}}
\setlength{{\oddsidemargin}}{{-4.4mm}}
\setlength{{\textheight}}{{247mm}}
\setlength{{\topmargin}}{{-20mm}}
\setlength{{\parindent}}{{0pt}}
\setlength{{\parskip}}{{4pt plus 2pt}}
\ifdefined\pdfpagewidth \pdfpagewidth=\paperwidth \pdfpageheight=\paperheight \fi
\allowdisplaybreaks
\renewcommand{{\arraystretch}}{{1.15}}
\title{{{title}}}
\author{{{loss}, {activation}}}
\date{{}}
\begin{{document}}
\maketitle
"""


def setting(recursion: Recursion) -> tuple[str, ...]:
    """Prompts, model and training."""
    extra = (
        r"Besides, a word carries features $\mu_{k'}^{\pm}$ of each other concept $k'$, with a sign of its own, and each",
        r"$\nu_r$ with probability $p_{\mathrm{extra}}$; its label carries the $q_{k'}^{\pm}$ of the same concepts and signs.",
    )
    hypotheses = recursion.closure.hypotheses
    return (
        *_PROMPTS,
        *_SIGNS,
        *(extra if hypotheses.extra or hypotheses.noise else ()),
        *(_NOISE if hypotheses.noise else ()),
        *_MODEL,
    )


_PROMPTS = (
    r"Words and labels are sparse combinations of features: of concept $k$ the unit vectors $\mu_k^{\pm}$ (words) and",
    r"$q_k^{\pm}$ (labels) with $\langle\mu_k^+,\mu_k^-\rangle=\kappa_x$ and $\langle q_k^+,q_k^-\rangle=\kappa_y$,",
    r"different concepts orthogonal, and orthonormal irrelevant features $\nu_r$ orthogonal to every $\mu_k^{\pm}$.",
    r"A prompt has a concept $k$, a query $x_{\mathrm{query}}$ of sign $e\in\{+1,-1\}$ and $L\ge 2$ demonstrations",
    r"$(x_l,y_l)$ with signs of their own: a word carries $\mu_k^{\pm}$ and its label $q_k^{\pm}$ by its sign.",
)

_SIGNS = (
    r"The concept is $k$ with probability $\pi_k$. Each sign is $+1$ with probability $p_{\mathrm{plus}}$ (fair:",
    r"$p_{\mathrm{plus}}=\frac12$) and $-1$ otherwise, that of the query and those of the demonstrations independently under the law",
    r"\texttt{iid}; the law \texttt{match} conditions the demonstrations on at least one with the sign of the query.",
)

_NOISE = (
    r"Words have Gaussian noise of standard deviation $\sigma_x$ in each component, labels of $\sigma_y$, independent of all else.",
)

_MODEL = (
    r"The model has the matrices $W_Q$, $W_K$, $W_O$ and fixed $r\in\{+1/m,-1/m\}^m$:",
    r"\[ s_l=(W_Kx_l)^\top W_Q\,x_{\mathrm{query}},\qquad \textstyle v=\sum_l\operatorname{softmax}(s)_l\,y_l,",
    r"\qquad h=W_Ov,\qquad f=r^\top\phi(h). \]",
    r"It is trained by gradient descent on $R+\Omega$, where $R=\mathbb{E}\,\ell(e f)$ and",
    r"$\Omega=\frac{\lambda}{2}(\|W_Q\|_F^2+\|W_K\|_F^2+\|W_O\|_F^2)$, with step size $\eta$, which may change at each step.",
)

_VECTORS = (
    r"Half sums and half differences of the features of a concept,",
    r"\[ a_k=\tfrac12(\mu_k^++\mu_k^-),\quad b_k=\tfrac12(\mu_k^+-\mu_k^-),\quad",
    r"c_k=\tfrac12(q_k^++q_k^-),\quad d_k=\tfrac12(q_k^+-q_k^-), \]",
    r"are orthogonal, with norms $n_a=\sqrt{(1+\kappa_x)/2}$, $n_b=\sqrt{(1-\kappa_x)/2}$ and $n_c$, $n_d$ the same in",
    r"$\kappa_y$. A hat marks the unit vector, so that $\mu_k^{e}=n_a\hat a_k+e\,n_b\hat b_k$ and",
    r"$q_k^{e}=n_c\hat c_k+e\,n_d\hat d_k$.",
)

_PEIRCE = (
    r"For the directions $s\in\{a_1,b_1,\dots,a_{K_1},b_{K_1},\nu_1,\nu_2,\dots\}$ of the words, $P_s=\hat s\hat s^\top$ and",
    r"$P_\perp=I-\sum_sP_s$ are orthogonal idempotents, $P_sP_t=\delta_{st}P_s$, that resolve the identity. They split each",
    r"matrix into its Peirce blocks $W=\sum_{s,t}P_sWP_t$, orthogonally in the Frobenius product; with",
    r"$E_{st}=\hat s\hat t^\top$ the block of $s,t$ is $W^{st}E_{st}$ with the coefficient $W^{st}=\hat s^\top W\hat t$, and",
    r"$E_{st}E_{uv}=\delta_{tu}E_{sv}$. Hence the coefficient of the gradient is the gradient in the coefficient, and the",
    r"recursion of the matrices is one of their coefficients. The labels split in the same way along $c_k$, $d_k$.",
)


def definitions(recursion: Recursion) -> tuple[str, ...]:
    """Vectors, idempotents and coefficients."""
    numbered = (
        r"At this level a word may have a component along each of the $D=2K_1+K_2$ directions, a label along the",
        r"$D_y=2K_1$ directions $\hat c_k,\hat d_k$; prompts are numbered, $q=1,\dots,N$, and each has a probability.",
        r"The letters below run over these directions.",
    )
    kinds = (
        r"At this level a prompt is a row of a table: a concept, a label, a number of positive demonstrations, and at most one",
        r"other concept in one of the words. Demonstrations with one word are a kind and have a count; components are on the",
        r"$D=2K_1$ directions $\hat a_k,\hat b_k$ of the words and the $D_y=2K_1$ directions of the labels.",
    )
    plain = ("The letters below are used throughout.",)
    tail = {"Z": numbered, "N": kinds}.get(recursion.level, plain)
    return (*_VECTORS, "\n\n" + _PEIRCE[0], *_PEIRCE[1:], "\n\n" + tail[0], *tail[1:])


LAW = (
    r"Up to the order of its demonstrations a pure prompt is its concept $k$, the sign $e$ of its query and its number $n_+$ of",
    r"demonstrations of sign $+1$. With",
)

NUMBERED_LAW = {
    "Z": (
        r"The probability $p_q$ of a prompt is the product of the probabilities of its draws: $\pi_k$, those of the signs, and in each",
        r"word for each other concept $p_{\mathrm{extra}}$ times the probability of its sign there, or $1-p_{\mathrm{extra}}$ if it is absent,",
        r"and the same for each feature $\nu_r$, which has no sign; under \texttt{match} it is divided by $1-(1-\varpi_e)^L$, the probability that a demonstration has the sign $e$ of the query,",
        r"which itself has probability $\varpi_e$. Demonstrations may be listed up to their order: the prompts of one list then add up.",
    ),
    "N": (
        r"A row without another concept in its words has the probability $p_q=p_{k,e,n_+}\bigl(1-(L+1)(K_1-1)\,p_{\mathrm{extra}}\bigr)$;",
        r"one with another concept, with one of its signs, in a word of a kind has $p_{k,e,n_+}\,p_{\mathrm{extra}}$ times the",
        r"probability of that sign and the number of words of the kind: $n_+$, $L-n_+$, or $1$ for the query. With",
    ),
}
"""How likely a prompt is where prompts are numbered."""


def closure(recursion: Recursion) -> tuple[str, ...]:
    """What the table of blocks says."""
    if recursion.level == "N":
        return (
            r"Noise is isotropic: rotating the space that no feature reaches changes the law of prompts in nothing, so there",
            r"$W_Q$ and $W_K$ stay multiples of the identity. Between the directions of concepts every block has a gradient at",
            r"some point (a witness). Rows are directions of the first letter, columns of the second; a prime marks another",
            r"concept, or another feature.",
        )
    return (
        r"One prompt contributes $W_K\bigl(\sum_l s'_l x_l\bigr)x_{\mathrm{query}}^\top$ to the gradient in $W_Q$ and",
        r"$W_Q\,x_{\mathrm{query}}\bigl(\sum_l s'_l x_l\bigr)^\top$ to that in $W_K$. Since softmax does not see a shift of",
        r"its logits, $\sum_l s'_l=0$, and $\sum_l s'_lx_l$ lies in the span of differences of demonstrations. Multiplying",
        r"blocks by $E_{st}E_{tv}=E_{sv}$ therefore shows which blocks can be reached from those of the start. A block",
        r"is alive if, besides, its derived gradient is non-zero at some point (a witness). Rows are directions of",
        r"the first letter, columns of the second; a prime marks another concept, or another feature.",
    )


def state(recursion: Recursion) -> str:
    """Which coefficients are followed."""
    if recursion.truncated:
        return "Of the living blocks, this truncation keeps the diagonal ones alone. Its coefficients are"
    if recursion.level == "Z":
        return (
            "The living blocks are those between any two directions of the words, and all of $W_O$ on the labels' "
            "directions. The coefficients to follow are"
        )
    if recursion.level == "N":
        return (
            r"Followed are the blocks between any two directions of concepts, $W_O$ on the directions of the labels, and for "
            r"each neuron the norm $\rho_i$ of the rest of its row; $G_\perp$ decays. The coefficients are"
        )
    return (
        r"Living blocks outside the planes of $(a_k,b_k)$ receive no gradient. The coefficients to follow are, for each "
        r"concept and neuron,"
    )


def forward_pass(recursion: Recursion) -> tuple[str, ...]:
    """How the stages of one prompt come about."""
    if recursion.level == "Z":
        return (
            r"In components along the directions, the logit of a demonstration is a sum over blocks of $W_K$ and $W_Q$,",
            r"and attention is the mean $\langle\,\cdot\,\rangle_l$ over demonstrations with the weights",
            r"$\exp(z_{q,l})/\sum_{l'}\exp(z_{q,l'})$:",
        )
    if recursion.level == "N":
        return (
            r"Label noise moves $h_i$ by $\sigma_y\sum_l p_l\,\xi_l\cdot w_i$, which is exactly Gaussian. Word noise moves the logits, of",
            r"each demonstration by itself and, through the query, of all together; to second order a mean under attention has",
            r"then a shift and a variance, from the slopes of the softmax, such as $-S\sum_l p_l^2(H_l-g)$ and",
            r"$S\sum_l p_l^2(H_l-g)^2$. The activation and its gate are averaged over a normal number with that mean and variance,",
            r"without expansion. Of the variance of the output is kept what neurons share to first order:",
        )
    return (
        r"In a pure prompt of concept $k$ every demonstration is the word $n_a\hat a_k\pm n_b\hat b_k$. The logit of a",
        r"demonstration thus takes one value for each sign; what both have in common, softmax cancels. With $n_+$",
        r"demonstrations of sign $+1$ and $L-n_+$ of sign $-1$, the softmax over $L$ demonstrations is one over two values",
        r"with multiplicities, and the mean sign is the $\tanh$ of half the gap of the logits plus half the log-odds of",
        r"the counts ($-1$ at $n_+=0$, $+1$ at $n_+=L$). The pooled label is $v=n_c\hat c_k+\bar e\,n_d\hat d_k$:",
    )


def risk(recursion: Recursion) -> tuple[str, ...]:
    """What the expectation runs over."""
    if recursion.level == "Z":
        return (r"The expectation is the sum over the numbered prompts, and the penalty is the sum of squared blocks:",)
    if recursion.level == "N":
        return (
            r"The loss is expanded at the mean $f$ of the output, $\ell(e f)+\frac12\ell''(e f)F$; the expectation over noise is in",
            r"these numbers, that over prompts is a sum over rows. The penalty is the sum of squares:",
        )
    return (
        r"A prompt enters the loss by $(k,e,n_+)$ alone, so the expectation over the $2K_1 2^L$ outcomes of signs is a sum of",
        r"$2K_1(L+1)$ terms. The penalty is $\frac{\lambda}{2}$ times the traces of $W_Q^\top W_Q$, $W_K^\top W_K$ and",
        r"$W_OW_O^\top$ on the living blocks, which Pythagoras turns into squares of coefficients:",
    )


def kink(recursion: Recursion) -> tuple[str, ...]:
    """What the activation does where it has no derivative."""
    if recursion.activation == "identity":
        return ()
    leak = f", so that the slope there is ${sp.Rational(LEAK)}$" if recursion.activation == "leaky_relu" else ""
    return (rf"where $\operatorname{{relu}}(h)=\max(h,0)$; at the kink $h=0$ the gate is taken as shut{leak}.",)


CHAIN_OF_COUNTS = (
    r"The derivatives of each stage in the one before it are as follows; that of $\bar e$ in the gap is the softmax",
    r"variance $1-\bar e^2$ of the signs.",
)

CHAIN_OF_PROMPTS = (
    r"The derivatives of each stage in the one before it are as follows. When the logits move along a direction $\zeta$,",
    r"from $z_{q,l}$ to $z_{q,l}+\theta\,\zeta_{q,l}$, an attention mean moves by its covariance with $\zeta$.",
    r"Names that are new here are defined below.",
)

NAMES = "What the products of these derivatives have in common gets names:"


def averaged(numbers: str) -> tuple[str, ...]:
    """From the derivatives of one prompt to those of the risk."""
    return (
        rf"Multiplying along the chain, and averaging with the probabilities of prompts, gives with the names {numbers}",
        r"the derivatives of the risk:",
    )


CHAIN_OF_STAGES = (
    r"The derivative $\delta_s$ of the risk in a stage $s$ is the sum over the stages that use $s$ of their $\delta$ times their slope",
    r"in $s$. From the last stage to the first:",
)

IN_COEFFICIENTS = "With these the derivatives of the risk in the coefficients are"

STEP = (
    r"One step of gradient descent on $R+\Omega$ subtracts $\eta$ times the derivatives of Step 4 and of the penalty,",
    r"which is $\lambda$ times the coefficient:",
)


def exactness(recursion: Recursion) -> tuple[str, ...]:
    """What is exact, and under which hypotheses."""
    if recursion.level == "Z":
        frame = (
            r"No gradient leaves the span of the features, so for noise-free prompts",
            r"and any finite list of them the recursion of all blocks is that of the full model, step by step: population",
            r"gradient descent if $p_q$ is the law of prompts, SGD if it is their frequency in a minibatch.",
            r"The block on $P_\perp$ is multiplied by $1-\eta\lambda$ at each step.",
        )
        if recursion.truncated:
            return (
                r"The truncation is \emph{not} exact: Step 1 lists living blocks off the diagonal that it drops. They are zero",
                r"at the start. The gradients of those between concepts or features vanish with the probability",
                r"$p_{\mathrm{extra}}$ of other concepts and features in a word; those of one concept, $ab$ and $ba$, live on",
                r"pure prompts too, unless signs are fair and neurons come in mirrored pairs. What the truncation neglects",
                r"has to be measured. Without it,",
                frame[0].replace("No", "no", 1),
                *frame[1:],
            )
        return ("Nothing is linearised and nothing is neglected:", frame[0].replace("No", "no", 1), *frame[1:])
    if recursion.level == "N":
        return (
            r"Without noise and extras these equations are those of level B, which are exact. With them is left out: the higher",
            r"cumulants of $f$ and of the pre-activations; in the variance of the output what two neurons share beyond their linear",
            r"parts, and the overlaps of the parts of two neurons outside the labels' directions; what word noise does to",
            r"$\sum_l p_l^2$; prompts with two extras or more; features $\nu_r$, which no label carries. In the derivatives of the",
            r"risk that is of second order in $\sigma$ where gates are within reach of the noise, of fourth order where none is,",
            r"and of second order in $p_{\mathrm{extra}}$.",
        )
    mirrored = (
        r"Fair signs and mirrored neurons matter: exchanging $+$ and $-$ of every concept then leaves the risk alone,",
        r"which is why the blocks that change sign under it stay zero. Without them, blocks between $a_k$ and $b_k$ live",
        r"too, which is level B.",
    )
    return (
        r"Nothing is linearised and nothing is neglected: under the hypotheses above these equations are those of the full",
        r"model, step by step. With $p_{k,e,n_+}$ the law of prompts they are population gradient descent; with its",
        r"frequencies in a minibatch they are SGD on that minibatch. Blocks outside the table's living ones stay zero, and",
        r"living ones without gradient are multiplied by $1-\eta\lambda$ at each step. Noise in words or labels, or",
        r"other concepts active in a word ($p_{\mathrm{extra}}>0$), break the hypotheses.",
        *(mirrored if recursion.closure.hypotheses.mirrored else ()),
    )
