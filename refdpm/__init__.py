"""refdpm: diffusion probabilistic models with every gradient derived by hand, to check other implementations against.

Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli, *Deep Unsupervised Learning using Nonequilibrium Thermodynamics*, ICML 2015,
in NumPy and without automatic differentiation.  The source is meant to be read from top to bottom in `READING_ORDER`, in
which a module imports only from modules above it; a test sees to that.

the ground
    `paper`
        every equation of the paper in a line, with its typos and corrections; the `@eq` number in the margin
    `vjp`
        the gradient contract: `f` and `f_vjp` side by side, positional arguments are differentiated
    `doors`
        numbers of any kind come in and float64 goes out, or float32 where it is said so
    `workers`
        work in several processes, with the same bits for any number of them
    `activation`
        softplus, sigmoid, logit, tanh, leaky ReLU, SiLU, GELU, softmax, accurate from −800 to 800

the process
    `schedule`
        β_t and log ᾱ_t; 1 − ᾱ is never a subtraction; the learned schedule
    `gaussian`
        Table App.1, left column: prior, forward, marginal, posterior, KL, entropy, density, draws
    `binomial`
        Table App.1, right column: the same names for bits, any stationary rate, by logits

the objective
    `likelihood`
        log p(x_0) as a weighted average over forward paths; null models; bits
    `bound`
        K term by term, the strict bound, the correction between them, and the whole gradient
    `reversal`
        the two bounds on the entropy of a reverse step, and where the upper one fails

the model
    `layers.linear`, `layers.rbf`
        affine, one affine map per step; normalised radial basis
    `layers.conv`, `layers.pool`, `layers.multiscale`, `layers.temporal`, `layers.stack`, `layers.norm`,
    `layers.attention`, `layers.embedding`
        convolution by blocks of patches; pooling and its adjoint; all scales at once; bumps in t; layers in a row
        and side by side; what later networks have: group, layer and RMS norm, attention, sines and cosines of t
    `networks.readout`, `networks.bit_readout`
        from heads to the reverse step, of real numbers and of bits
    `networks.swiss_roll`, `networks.heartbeat`, `networks.image`
        the paper's networks, and where ours differ

using it
    `data`, `data.swiss_roll`, `data.heartbeat`, `data.dead_leaves`
        what the bound demands of data; the generated ones
    `data.prepare`, `data.files`, `data.idx`, `data.cifar`
        dequantised, centred, scaled by constants of the training set; official files, read without trust
    `optimize`, `single`, `train`, `sample`, `product`
        optimisers as pure functions; a network in single precision; ascent on K; ancestral sampling; the model times r(x)

what came later
    `later`, `later.parametrisation`, `later.mean`, `later.weights`, `later.variance`
        what came after the paper, derived from its chain: x_0, noise, v, score, mean, and back; SNR weights; β̃, β
        and between, and t = 1
    `later.decoder`, `later.model`, `later.objective`, `later.loss`, `later.sampler`
        exact mass of a level; a predictor as a network; the bound in bits per dimension, and what it has to do with
        K; DDIM
    `later.sigma`, `later.solver`, `later.path`, `later.categorical`, `later.masked`, `later.guidance`
        the chain divided by √ᾱ, and what a network is told then; steps along its flow; straight paths; symbols of
        K classes; masked tokens; guidance

the evidence
    `gradcheck`
        is a gradient the adjoint of its function? By the complex step, for anybody's functions too
    `textbook`
        every formula once, as it is printed; read in float64, in as many digits as it takes, as rounding, as its
        edits, as its slope, as text
    `oracles.common`, `oracles.linear_gaussian`, `oracles.mixture`, `oracles.quadrature`
        ground truth for Gaussian data, mixtures, any density in one dimension
    `oracles.roll_curve`, `oracles.roll_field`, `oracles.schedule_search`, `oracles.swiss_roll`
        the roll as a measure on a curve: K_max, K*, the best schedule
    `oracles.two_sample`
        are two samples from one law?
    `oracles.enumeration`, `oracles.heartbeat`
        every path of short binary sequences; the heartbeat solved exactly at 20 bits
    `oracles.empirical`, `oracles.multiplied`, `oracles.wiener`, `oracles.flow`
        the best reverse steps of a finite data set; what sec. 2.5 really draws; what second moments alone can do
        with images; solvers on normal data
    `strategies`
        Hypothesis strategies for schedules, states, laws and networks, for your tests too
    `html`
        what pages are made of
    `conformance.glossary`, `conformance.adapter`, `conformance.profile`, `conformance.precision`, `conformance.arguments`
        the words of the kit; your functions; their conventions; the precision of answers; what tells arguments apart
    `conformance.in_textbook`, `conformance.planting`, `conformance.chapters`, `conformance.mistakes`
        a call as formulas; how a mistake is planted; topic by topic, what can be asked and what people got wrong; all
        named mistakes
    `conformance.cases`, `conformance.accuracy`, `conformance.checks`, `conformance.detection`
        cases for every pair; values and pullbacks in digits; values against oracles; which of them finds a mistake
    `conformance.subject`, `conformance.power`, `conformance.inference`
        asking; what a pass would have rejected; finding the conventions
    `conformance.symptoms`, `conformance.fitting`, `conformance.naming`, `conformance.smallest`, `conformance.judge`,
    `conformance.gradients`
        finding the mistake, a number that somebody wrote, the smallest input that shows it, and the verdict; the same for gradients
    `conformance.unknown`, `conformance.known`, `conformance.expected`, `conformance.evidence`, `conformance.causes`,
    `conformance.report`, `conformance.junit`, `conformance.page`, `conformance.annotations`, `conformance.wire`,
    `conformance.explain`
        functions that nothing looks at; interfaces that exist; failures that are expected; what is shown of a
        failure; which failure comes first; what is printed, and written for others; JSON lines; what is explained
    `conformance.questions`, `conformance.session`, `conformance.reference`, `conformance.matrix`
        what a network is asked; a whole check; this package as an adapter; which clause sees which mistake
    `conformance.audit`, `conformance.brief`
        everything about the reference at once, and in brief
    `conformance.keeper`, `conformance.remote`, `conformance.serve`, `conformance.failure`, `conformance.example`
        adapters in other processes; a failing input in a file; a small DDPM to look at

the edges
    `data.images`, `run`, `conformance.vectors`
        pictures from folders; run files; test vectors
    `console`, `experiments`, `figure`, `training`, `runs`, `checking`, `pytest_plugin`, `traceability`, `reading`,
    `itself`, `cli`
        messages; the experiments from end to end; their pictures; the command that trains; the commands on a run;
        those of the kit; clauses as tests of pytest; the code and the tests of each equation; all of this as a page
        to read; the commands about this package itself; all commands by name

Nothing is imported here: `from refdpm import gaussian, bound` loads what it names and what that needs.
"""

__version__ = "0.1.0"

READING_ORDER = (
    "paper", "vjp", "doors", "workers", "activation",
    "schedule", "gaussian", "binomial",
    "likelihood", "bound", "reversal",
    "layers.linear", "layers.rbf", "layers.conv", "layers.pool", "layers.multiscale", "layers.temporal", "layers.stack",
    "layers.norm", "layers.attention", "layers.embedding",
    "networks.readout", "networks.bit_readout", "networks.swiss_roll", "networks.heartbeat", "networks.image",
    "data", "data.swiss_roll", "data.heartbeat", "data.dead_leaves", "data.prepare", "data.files", "data.idx", "data.cifar",
    "optimize", "single", "train", "sample", "product",
    "later", "later.parametrisation", "later.mean", "later.weights", "later.variance", "later.decoder", "later.model",
    "later.objective", "later.loss", "later.sampler", "later.sigma", "later.solver", "later.path", "later.categorical",
    "later.masked", "later.guidance",
    "gradcheck", "textbook",
    "oracles.common", "oracles.linear_gaussian", "oracles.mixture", "oracles.quadrature", "oracles.roll_curve",
    "oracles.roll_field", "oracles.schedule_search", "oracles.swiss_roll", "oracles.two_sample", "oracles.enumeration",
    "oracles.heartbeat", "oracles.empirical", "oracles.multiplied", "oracles.wiener", "oracles.flow",
    "strategies", "html",
    "conformance.glossary", "conformance.adapter", "conformance.profile", "conformance.precision", "conformance.arguments",
    "conformance.in_textbook", "conformance.planting", "conformance.chapters", "conformance.mistakes",
    "conformance.cases", "conformance.accuracy",
    "conformance.checks", "conformance.detection", "conformance.subject", "conformance.power", "conformance.inference",
    "conformance.symptoms", "conformance.fitting", "conformance.naming", "conformance.smallest", "conformance.judge",
    "conformance.gradients",
    "conformance.unknown", "conformance.known", "conformance.expected", "conformance.evidence", "conformance.causes",
    "conformance.report", "conformance.junit", "conformance.page", "conformance.annotations", "conformance.wire",
    "conformance.explain", "conformance.questions", "conformance.session", "conformance.reference", "conformance.matrix",
    "conformance.audit",
    "conformance.brief", "conformance.keeper", "conformance.remote", "conformance.serve", "conformance.failure",
    "conformance.example",
    "data.images", "run", "conformance.vectors", "console", "experiments", "figure", "training", "runs", "checking",
    "pytest_plugin", "traceability", "reading", "itself", "cli",
)
