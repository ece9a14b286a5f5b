"""The steps of the argument, and which claims belong to each (docs/THEORY.md, section 7); which figures belong to claims."""

from polyseme.checks.core.theory import Step

STEPS: tuple[Step, ...] = (
    Step(
        key="decomposition",
        title="The decomposition",
        question="Do weights, penalty and gradient split under orthogonal idempotents, and what does softmax see of the parts?",
        patterns=("algebra/*",),
    ),
    Step(
        key="gradient",
        title="The gradient",
        question="Is the gradient in the coefficients what automatic differentiation of the full model gives, "
        "and are prompts, starts and minibatches drawn from the law that it is averaged over?",
        patterns=("gradient/*",),
    ),
    Step(
        key="closure",
        title="Which blocks live, and the exact reduction",
        question="Which blocks does training reach, and does the recursion of these alone follow the full model to "
        "round-off, with its flow, its enclosures and its symmetries?",
        patterns=("closure/*",),
    ),
    Step(
        key="dynamics",
        title="What training does",
        question="Which products win, is every concept learned, in which order and phase, and where does training end?",
        patterns=("dynamics/*",),
    ),
    Step(
        key="fluctuation",
        title="Noise and fluctuations",
        question="How far does SGD stray from the recursion, and how far does noise on the words, with other concepts in "
        "them, move what the exact reduction says (level N)?",
        patterns=(
            "fluctuation/*",
            "gradient/level_n_*",
            "gradient/label_noise_*",
            "gradient/smooth_gates_*",
            "closure/level_n_*",
        ),
    ),
    Step(
        key="exponential",
        title="Exponential bounds",
        question="Does the 0–1 error fall exponentially, down to which floor, at which rate and why, and which steps of the "
        "bound hold here?",
        patterns=("exponential/*",),
    ),
    Step(
        key="ood",
        title="Out of distribution",
        question="What of it holds on prompts of other lengths, skewed concepts, switched features and new tasks, and what "
        "stays at chance?",
        patterns=("ood/*",),
    ),
)
"""The argument in its order. The most specific pattern decides: level N is about noise, wherever its ids are filed."""

FIGURE_CLAIMS: dict[str, tuple[str, ...]] = {
    "learning_dynamics": ("dynamics/concept_specific_*",),
    "thresholds": (
        "dynamics/share_of_concepts_*",
        "dynamics/critical_penalty_*",
        "dynamics/attention_is_half_way_*",
    ),
    "out_of_distribution": ("ood/noisy_sgd_*", "ood/any_length_*", "ood/every_scenario_*"),
    "deviation": ("fluctuation/deviation_*", "fluctuation/covariance_*", "fluctuation/averaged_gates_*"),
    "error_curve": (
        "exponential/error_falls_*",
        "exponential/error_ends_*",
        "exponential/full_and_reduced_ensembles_*",
        "exponential/rate_is_*",
        "exponential/splitting_*",
        "exponential/iterations_*",
    ),
    "phases": ("exponential/risk_is_nowhere_*", "exponential/error_stays_below_*", "exponential/wrong_prompts_*"),
}
"""The figures that belong to claims, by the names of their files; the others are of the whole run."""
