"""What an axis says for a key of a regime: words and the field's symbol."""

SYMBOLS = {
    "K1": ("number of concepts", r"$K_1$"),
    "K2": ("number of irrelevant features", r"$K_2$"),
    "d_x": ("word dimension", r"$d_x$"),
    "d_y": ("label dimension", r"$d_y$"),
    "kappa_x": ("overlap of words", r"$\kappa_x$"),
    "kappa_y": ("overlap of labels", r"$\kappa_y$"),
    "weights": ("weights of concepts", r"$\pi$"),
    "L": ("number of demonstrations", r"$L$"),
    "law": ("prompt law", ""),
    "p_plus": ("probability of a positive sign", r"$p_+$"),
    "p_extra": ("probability of other features", r"$p_{\mathrm{extra}}$"),
    "sigma_x": ("noise on words", r"$\sigma_x$"),
    "sigma_y": ("noise on labels", r"$\sigma_y$"),
    "m": ("width", r"$m$"),
    "activation": ("activation", ""),
    "neurons": ("start of neurons", ""),
    "sigma_0": ("size of attention at the start", r"$\sigma_0$"),
    "sigma_1": ("size of neurons at the start", r"$\sigma_1$"),
    "steps": ("number of updates", r"$T$"),
    "batch": ("batch size", r"$B$"),
    "loss": ("loss", ""),
    "lam": ("L2 penalty", r"$\lambda$"),
    "schedule": ("schedule of steps", ""),
    "gamma": ("offset of the steps", r"$\gamma$"),
    "eta": ("step size", r"$\eta$"),
    "record_every": ("steps between records", ""),
    "seeds": ("number of members", ""),
    "seed": ("seed", ""),
    "dtype": ("precision", ""),
    "device": ("device", ""),
    "sampler": ("sampler", ""),
    "engine": ("engine", ""),
}


def axis_label(key: str) -> str:
    """Words and symbol of a key."""
    return " ".join(SYMBOLS[key]).strip()


def symbol(key: str) -> str:
    """The symbol of a key, or its name as a regime file has it."""
    return SYMBOLS[key][1] or key
