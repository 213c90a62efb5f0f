"""refdpm: diffusion probabilistic models with every gradient derived by hand, to check other implementations against.

Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli, *Deep Unsupervised Learning using Nonequilibrium Thermodynamics*, ICML 2015,
in NumPy and without automatic differentiation.  The source is meant to be read from top to bottom in `READING_ORDER`, in
which a module imports only from modules above it:

    the ground            paper, vjp, doors, activation
    the process           schedule, gaussian, binomial
    the objective         likelihood, bound, reversal
    the model             layers, networks
    using it              data, optimize, train, sample, product
    what came later       later
    the evidence          gradcheck, textbook, oracles, strategies, conformance
    the edges             run, experiments, figure, checking, traceability, cli

Nothing is imported here: `from refdpm import gaussian, bound` loads what it names and what that needs.
"""

__version__ = "0.1.0"

READING_ORDER = (
    "paper", "vjp", "doors", "activation",
    "schedule", "gaussian", "binomial",
    "likelihood", "bound", "reversal",
    "layers.linear", "layers.rbf", "layers.conv", "layers.pool", "layers.multiscale", "layers.temporal", "layers.stack",
    "layers.norm",
    "networks.readout", "networks.bit_readout", "networks.swiss_roll", "networks.heartbeat", "networks.image",
    "data", "data.swiss_roll", "data.heartbeat", "data.dead_leaves", "data.prepare", "data.files", "data.idx", "data.cifar",
    "optimize", "train", "sample", "product",
    "later", "later.parametrisation", "later.mean", "later.weights", "later.variance", "later.decoder", "later.model",
    "later.objective", "later.loss", "later.sampler", "later.categorical",
    "gradcheck", "textbook",
    "oracles.common", "oracles.linear_gaussian", "oracles.mixture", "oracles.quadrature", "oracles.roll_curve",
    "oracles.roll_field", "oracles.schedule_search", "oracles.swiss_roll", "oracles.two_sample", "oracles.enumeration",
    "oracles.heartbeat", "oracles.empirical", "oracles.multiplied", "oracles.wiener",
    "strategies",
    "conformance.glossary", "conformance.adapter", "conformance.profile", "conformance.precision", "conformance.in_textbook",
    "conformance.planting", "conformance.chapters", "conformance.cases", "conformance.accuracy", "conformance.checks",
    "conformance.mistakes", "conformance.subject", "conformance.power", "conformance.inference", "conformance.naming",
    "conformance.judge", "conformance.gradients", "conformance.known", "conformance.unknown",
    "conformance.evidence", "conformance.causes", "conformance.report", "conformance.explain", "conformance.session",
    "conformance.reference", "conformance.matrix", "conformance.audit", "conformance.brief", "conformance.wire",
    "conformance.keeper", "conformance.remote", "conformance.serve", "conformance.failure", "conformance.example",
    "data.images", "run", "conformance.vectors", "console", "experiments", "figure", "checking", "traceability", "cli",
)
