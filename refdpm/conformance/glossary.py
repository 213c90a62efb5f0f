"""The words of the kit, one for each thing (`refdpm explain glossary`), and how a report calls quantities and conventions."""

from typing import Any
import textwrap

GLOSSARY = {
    "quantity": "a function that an adapter may offer: the posterior, a divergence, a layer.",
    "clause": "one output of a quantity, or the gradient for one of its arguments, with a verdict.",
    "law": "a property of several quantities, or the law of what is drawn; it is a clause too. As an argument of a function for "
           "symbols it is π, the stationary law (K,), of which a chain of the kernel 'given' is made; law_q and law_p are (N, K).",
    "chapter": "one topic of the kit: its quantities, its laws, and those of its mistakes that are no single edit.",
    "textbook": "the formulas as they are printed, each written once; everybody is judged by it, this package too.",
    "edit": "one change to a formula of the textbook: a factor left out, a sign, a column of the schedule exchanged.",
    "mistake": "a wrong variant, with its source: where it happened, or what it is a variant of; it has an id.",
    "symptom": "a relation between what came and what should have come: a constant factor, a sign, the answer of another t.",
    "subject": "the adapter under test.",
    "adapter": "a module or object with plain functions named as the quantities are; arrays in, arrays out.",
    "model": "the network that a function is given: model(x_t, t) with the adapter's own t is x_t @ weight + bias, x_t flattened "
             "to (N, D); its tables model.weight and model.bias have T+1 rows, of which rows 1 to T belong to t = 1, …, T.",
    "network": "what the functions sigma_… and path_… are given: network(x_t, sigma) predicts x_0 (in sigma_denoised it is F, "
               "told c_noise), network(x_t, t) the velocity; sigma and t are (N, 1), (N,), or one number where one step is taken. "
               "For categorical_sample it is network(x_t, t) with symbols x_t and t (N,), and gives logits (N, D, K). "
               "network.trace(x_t, sigma) is the trace of ∂D/∂x_t of each example; for a derivative of your own, x_0 is said by "
               "D = (s x_t + σ² c)/(s + σ²) with c = network.centre and s = network.spread.",
    "clipping": "holding x̂_0 within [-1, 1], as many samplers do. No formula here has it, and it is reported as a mistake; switch "
                "it off in the adapter, or offer the functions without it.",
    "profile": "the conventions of an adapter: t from 0 or 1, nats or bits, variance or its logarithm.",
    "guessed": "of a convention: no right function tells it, and under this one most numbers of a wrong function are right.",
    "own_steps": "lists of the t that a sampler of an adapter stops at, for one that takes no others: arrays, each with its t in "
                 "increasing order, the first of which is where the chain ends.",
    "array": "what makes an adapter's arrays from NumPy's, torch.as_tensor for instance; NumPy's come in the precision of dtype.",
    "symbols": "integers from 0 to K − 1 in an array (N, D); a law of them has one number for each class on its last axis. The "
               "mask, where there is one, is the last class; functions that are given `mask` get logits for the classes before it.",
    "classes": "K, how many classes there are, the mask included; an adapter with one K only says so in an attribute `classes`.",
    "time": "t of a straight path or of masked tokens, a number from 0 to 1 for each row, (N, 1); t are integers: steps.",
    "dtype": 'the precision in which an adapter computes, "float32" for instance, as a name in its file; what is right in double '
             "precision all the same is judged there. Without it an answer is judged in the precision in which it comes.",
    "power": "what a pass would have rejected: the edits that the inputs tell from the formula.",
    "scale": "how much rounding a formula may do; an error is measured in u·scale, u the unit of the precision.",
    "units": "an error divided by u·scale.",
    "complex step": "the derivative of f at x along v as Im f(x + ihv)/h, for a tiny h: without the rounding of a difference, for "
                    "functions that are smooth and take complex numbers.",
    "differences": "the derivative of f from its values on both sides of x, where the complex step is not possible: fewer digits.",
    "cotangent": "how much the final result changes with each entry of an array; it is called dx for the array x.",
    "pullback": "the function that makes from the cotangent of a value those of the arguments; also called backward, or vjp.",
    "adjoint": "Jᵀ, the transpose of the matrix J of derivatives; a pullback multiplies by it.",
    "pair": "a function f of this package and its adjoint f_vjp: f_vjp(x) gives f(x) and the pullback.",
    "kernel": "the law of a step: T_π(y | x; β) in the paper, from x to y; with y = x_t and x = x_{t−1} it is also written "
              "q(x_t | x_{t−1}). In the code a kernel is a module with this law and those that follow, `gaussian` or `binomial`.",
    "detailed balance": "π(x) T_π(y | x; β) = π(y) T_π(x | y; β) for the forward kernel T_π and its prior π, so that the forward "
                        "kernel is also a reverse step (eq. 44).",
    "q": "the law of the forward chain, from the data to noise; q(x_t | x_{t−1}) is one step of it.",
    "p": "the law of the model, from noise to data; p(x_{t−1} | x_t) is one reverse step, which a network learns.",
    "π": "the prior, which no forward step changes: N(0, 1), or bits with the rate r of ones; the law of x_T in the model.",
    "bound": "a number that the log-likelihood is never below: the strict bound of eq. 12, or K of eq. 14, which is one if C ≥ 0.",
    "convention": "a choice between forms that are all right, as t from 0 or from 1; `refdpm explain` lists the conventions.",
    "gap": "how wrong a gradient is: |⟨w, J v⟩ − ⟨Jᵀw, v⟩| relative to both sides, for v and w drawn at random; J v is the complex "
           "step, Jᵀw the pullback of w, and 0 is right.",
    "digits": "how many decimal digits of an answer are right.",
    "K": "the lower bound of eq. 14 on the log-likelihood of an example, which training raises; higher is better.",
    "C": "the correction that K leaves out (eqs. 10 to 14), (ᾱ_T + β_1) [log π(x_0) + H(π)] for an example x_0: K + C is below "
         "log p(x_0) whatever the data are; no network changes C. `explain refdpm.bound` derives it.",
    "L_null": "the log-likelihood of the examples under π, the law of x_T; K − L_null is what was learned.",
    "K_max": "what no network exceeds, because the step at t = 1 is fixed: −h(X¹), or −H(X¹) of bits.",
    "K*": "what the best reverse steps with independent components reach, from the law of the data.",
    "pass": "a verdict: the answers are right, and a wrong formula would have been seen.",
    "undecided": "a verdict: the answers are right as far as can be seen, but some wrong answers would look the same.",
    "inaccurate": "a verdict: the answers are right, but in a lower precision than the one they come in.",
    "wrong": "a verdict: the answers are not what the formula gives, in no precision; or there was no answer.",
    "skipped": "a verdict: the adapter does not offer this, or said that it does not want to be asked.",
    "not checked": "a verdict: the adapter offers this, but the kit could not ask for it or does not know it.",
}

# what other programs call the functions and words of this one
ELSEWHERE = {
    "q_sample": "marginal_sample", "add_noise": "marginal_sample", "q_mean_variance": "marginal", "q_posterior": "posterior",
    "q_posterior_mean_variance": "posterior", "p_mean_variance": "reverse", "p_sample": "ancestral_step", "p_sample_loop": "sample",
    "ddim_sample_loop": "ddim_sample", "predict_start_from_noise": "x_0_from_noise", "predict_noise_from_start": "noise_from_x_0",
    "predict_start_from_v": "x_0_from_v", "get_velocity": "velocity", "p_losses": "training_loss",
    "training_losses": "training_loss", "prior_bpd": "prior_kl", "vb_terms_bpd": "step_kl", "vlb": "bound_terms",
    "elbo": "bound_terms", "nll": "bound", "eps": "noise", "epsilon": "noise"}

# how the ids of clauses begin, and what those clauses are about
GROUPS = {
    "SCH": "schedules", "GAU": "the Gaussian kernel", "BIN": "the binomial kernel", "CAT": "symbols",
    "PAR": "what a network predicts", "REV": "the reverse step", "BND": "the paper's bound K", "DEC": "levels of pixels",
    "UNIT": "units", "OBJ": "the bound of DDPM", "LOSS": "training losses", "BIT": "the bound for bits",
    "LIK": "likelihoods", "NET": "a whole network", "SMP": "sampling", "SIG": "levels told by σ", "SLV": "solvers in σ",
    "PTH": "straight paths", "LAY": "layers", "CON": "the model times r(x)", "GUI": "guidance", "LAW": "laws of draws",
    "PURE": "any function",
}


def render() -> str:
    """A word a line, and what it means beside it."""
    return "\n".join(textwrap.fill(f"{word:17s}{says}", 110, subsequent_indent=" " * 17, break_on_hyphens=False)
                     for word, says in GLOSSARY.items())


# -- what a report calls a quantity ----------------------------------------------------------------------------------------

WORDS = {
    "alpha_bar": "table of ᾱ", "schedule_logits": "logits of the schedule", "forward": "forward step",
    "marginal_sample": "sample from the marginal", "kl": "KL divergence", "log_prob": "log-probability",
    "binomial_forward": "forward step of bits", "binomial_marginal": "marginal of bits", "binomial_posterior": "posterior of bits",
    "binomial_kl": "KL divergence of bits", "binomial_entropy": "entropy of bits",
    "binomial_cross_entropy": "cross entropy of bits",
    "binomial_log_prob": "log-probability of bits", "binomial_draw": "draw of bits", "categorical_marginal": "marginal of symbols",
    "categorical_posterior": "posterior of symbols", "categorical_reverse": "reverse step of symbols",
    "categorical_kl": "KL divergence of symbols", "velocity": "target v", "snr": "signal-to-noise ratio", "log_snr": "log SNR",
    "kl_weight": "weight of a KL term", "kl_of_v": "KL term as a function of v", "ranged_variance": "variance chosen by a head",
    "x_0_from_model": "x_0 that the network predicts", "reverse": "reverse step", "entropy_at": "entropy at t",
    "step_kl": "KL term of one step", "K": "bound K", "one_step_bound": "bound from one drawn step",
    "decoder_log_mass": "log-probability of a bin of the decoder", "prior_kl": "prior term",
    "edge_log_prob": "term of the last step",
    "decoder_nll": "decoder term", "bound_terms": "list of the bound's terms", "bound": "whole bound",
    "binomial_step_kl": "KL term of one step of bits", "binomial_bound": "bound K of bits",
    "null_log_likelihood": "log-likelihood of the null model", "gaussian_log_likelihood": "log-likelihood of a normal law",
    "parzen_log_likelihood": "Parzen-window log-likelihood", "log_weights": "log of the importance weights",
    "log_mean_weight": "log of the mean importance weight", "objective": "training objective", "ancestral_step": "sampling step",
    "strided_step": "sampling step over several t", "ddim_step": "DDIM step", "sample": "sampler's result",
    "ddim_sample": "DDIM sampler's result", "leaky_relu": "leaky ReLU", "conv2d": "convolution", "mean_pool": "mean pooling",
    "upsample": "upsampling", "log_softmax": "log-softmax", "rbf": "layer of radial basis functions",
    "group_norm": "group normalisation", "temporal_basis": "basis of bumps in t", "linear": "linear layer",
    "sigma_of_t": "table of σ", "sigma_state": "state divided by √ᾱ", "sigma_sample": "state x_0 + σ ε",
    "sigma_scalings": "scalings of a denoiser", "sigma_denoised": "denoiser", "sigma_weight": "weight of a denoiser's error",
    "sigma_loss": "denoiser's training loss", "sigma_drawn": "σ drawn for training", "sigma_levels": "list of levels",
    "sigma_density": "density of σ in training", "score_from_velocity": "score from the velocity",
    "path_stochastic_step": "step of a straight path with noise", "mask_schedule": "schedule of masks",
    "mask_sigma": "σ of masked tokens",
    "sigma_slope": "slope of the flow", "sigma_euler_step": "Euler step", "sigma_heun_step": "Heun step",
    "sigma_churned_step": "Heun step after churn", "sigma_ancestral_split": "split of an ancestral step",
    "sigma_ancestral_step": "ancestral Euler step", "sigma_multistep": "step of DPM-Solver++ 2M",
    "sigma_euler_sample": "Euler sampler's result", "sigma_heun_sample": "Heun sampler's result",
    "sigma_multistep_sample": "result of DPM-Solver++ 2M", "sigma_ancestral_sample": "ancestral sampler's result",
    "sigma_churned_sample": "result of Heun's sampler with churn", "path_sample": "state of a straight path",
    "path_velocity": "velocity of a straight path", "path_loss": "training loss of a straight path",
    "path_alpha_bar": "level of a straight path",
    "path_bound_weight": "weight of a velocity in the bound", "path_shifted": "shifted time",
    "path_drawn": "t drawn for training", "path_step": "Euler step of a straight path",
    "path_euler_sample": "sampler's result of a straight path",
    "times_gaussian": "product with a normal law", "times_bits": "product with a law of bits",
    "conditioned_step": "step with a condition", "keep_known": "state with its known part kept",
    "noised_known": "known part with noise", "inpaint_step": "inpainting step",
    "silu": "SiLU", "gelu": "GELU", "strided_conv2d": "convolution with stride and padding", "layer_norm": "layer normalisation",
    "rms_norm": "normalisation by the root mean square", "sinusoidal": "sinusoidal embedding of t",
    "categorical_step_kl": "bound's term for symbols", "categorical_prior_kl": "prior term of symbols",
    "masked_reverse": "reverse step of masked tokens", "categorical_draw": "draw of a symbol",
    "matrix_product": "product of transition matrices", "p2_weight": "P2 weight",
    "matrix_posterior": "posterior of any transition matrices", "linear_schedule_for": "linear schedule for T steps",
    "zero_terminal_schedule": "schedule that ends at ᾱ = 0", "min_snr_weight": "min-SNR weight",
    "noised_again": "step back of repeated inpainting", "guided_noise": "noise guided by a classifier",
}
PARTS = {"MEAN": "mean", "VAR": "variance"}


def called(name: str, output: str = "") -> str:
    """What a report calls a quantity, or one of its outputs: "the posterior's mean"."""
    words = f"the {WORDS.get(name) or _spelt(name)}"
    return f"{words}'s {PARTS[output]}" if output in PARTS else words


def _spelt(name: str) -> str:
    """A function's name in words: x_0_from_noise → x_0 from noise."""
    return name.replace("_", " ").replace("x 0", "x_0").replace("x t", "x_t")


# -- conventions -----------------------------------------------------------------------------------------------------------

CONVENTIONS: dict[str, tuple[str, dict[Any, str]]] = {
    "first_t": ("the number of the first step", {1: "t = 1, 2, …, T", 0: "t = 0, 1, …, T − 1"}),
    "tables": ("the first entry of a table over t", {"from_1": "it belongs to the first step",
                                                     "from_0": "it belongs to the data, before the first step: ᾱ_0 = 1"}),
    "order": ("the order of what is given for all t at once", {"ascending": "the first step first",
                                                               "descending": "the last step first"}),
    "spread": ("how the width of a normal law is given", {"variance": "σ²", "log_variance": "log σ²", "deviation": "σ"}),
    "bits": ("how the law of a bit is given", {"probability": "p of a one", "logit": "log p/(1 − p)", "log_probability": "log p"}),
    "reduction": ("what is done with the components of an example", {"sum": "added up", "mean": "averaged",
                                                                     "none": "one number for each"}),
    "unit": ("the unit of information", {"nats": "natural logarithms", "bits": "logarithms to base 2"}),
    "log_weights": ("the unit of the log-weights that log_mean_weight gets", {"nats": "natural logarithms",
                                                                              "bits": "logarithms to base 2"}),
    "predicts": ("what the network's output means", {
        "noise": "ε of x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε", "x_0": "the data", "v": "v = √ᾱ_t ε − √(1−ᾱ_t) x_0",
        "score": "the gradient of log q(x_t)", "mean": "the mean of the reverse step"}),
    "weight_of": ("the prediction whose squared error the weight of a KL term is for", {
        "noise": "ε", "x_0": "the data", "v": "v = √ᾱ_t ε − √(1−ᾱ_t) x_0", "score": "the gradient of log q(x_t)",
        "mean": "the mean of the reverse step"}),
    "loss_weight": ("the weight of a squared error in training, said of an error of x_0 where it is not 1", {
        "none": "1, whatever the network predicts", "snr": "ᾱ_t/(1−ᾱ_t)", "min_snr": "the smaller of ᾱ_t/(1−ᾱ_t) and γ",
        "bound": "that of the step's term in the bound"}),
    "loss_reduction": ("what a training loss does with the components of an example", {
        "mean": "averaged", "sum": "added up", "none": "one number for each"}),
    "variance": ("the variance of the reverse step", {"small": "β̃_t, that of the posterior", "large": "β_t",
                                                      "ranged": "between both, chosen by a head of the network",
                                                      "eq64": "learned as in the paper (eq. 64), with the mean of eq. 65"}),
    "first": ("the variance of the reverse step at t = 1, where β̃_1 = 0", {
        "next": "β̃_2 in its place", "floor": "a small number in its place", "beta": "β_1",
        "fixed": "the fixed edge step of the paper (eq. 44)"}),
    "posterior_first": ("the posterior's variance at t = 1", {
        "zero": "β̃_1 = 0, for x_0 is given", "next": "β̃_2 in its place, so that it has a logarithm"}),
    "readout": ("how the two heads of the Swiss-roll network become a mean and a variance", {
        "eq65": "as in equations 64 and 65, with the root of 1 − Σ that is missing in print",
        "released": "as in the program of the paper's authors",
        "denoising": "by a prediction of x_0"}),
    "orientation": ("of a transition matrix", {"rows": "a row is the state that is left", "columns": "a column is"}),
    "layout": ("of images", {"channels_last": "(N, H, W, C), kernels (height, width, in, out)",
                              "channels_first": "(N, C, H, W), kernels (out, in, height, width)"}),
    "categories": ("how the law of a symbol is given", {"probability": "p", "log_probability": "log p",
                                                        "logits": "log p up to a constant"}),
    "kernel": ("what a symbol becomes when it changes", {"uniform": "any class, drawn with equal probabilities",
                                                        "absorbing": "the last class, which it does not leave",
                                                        "given": "a class drawn from the law that is given"}),
    "mixing": ("what a network's law of x_0 means in the reverse step of symbols", {
        "average": "the posterior is averaged over it",
        "average_unmasked": "the same, without the mask, which no data have: SUBS of masked diffusion",
        "joint": "q(x_{t−1}, x_t | x_0) is, and divided by its sum",
        "joint_but_first": "the same, but at t = 1 the network's law itself"}),
    "gelu": ("by what the GELU is computed", {"exact": "x Φ(x)", "tanh": "½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))"}),
    "time_order": ("the order of sines and cosines in the embedding of t", {
        "sin_first": "all sines, then all cosines", "cos_first": "all cosines, then all sines",
        "alternating": "sin, cos, sin, cos …"}),
    "frequencies": ("the frequencies in the embedding of t, with half the width as h", {
        "half": "10000^(−i/h), which ends before 1/10000", "half_minus_1": "10000^(−i/(h − 1)), which ends with 1/10000"}),
    "masking": ("in what way fewer tokens are kept as t goes from 0 to 1", {
        "linear": "1 − t", "cosine": "cos(πt/2)", "cosine_masks": "1 − cos(π(1 − t)/2)",
        "cosine_squared": "cos²(πt/2)"}),
    "floor_at": ("where a small share ε of the tokens, the floor, is left out of that", {
        "end": "α_1 = ε, so that as many are kept", "both_ends": "α_1 = ε and α_0 = 1 − ε"}),
    "rise": ("in what way σ of masked tokens goes from sigma_min at t = 0 to sigma_max at t = 1", {
        "linear": "in equal steps", "geometric": "by equal factors"}),
    "guidance": ("from which prediction the weight of guidance is counted", {
        "unconditional": "u + w (c − u), which is c at w = 1", "conditional": "c + w (c − u), which is c at w = 0"}),
    "last_step": ("the last step of Heun's chains, where its level is above 0", {
        "heun": "Heun's, as all before it; one to 0 is Euler's", "euler": "Euler's, whatever its level is, as in EDM"}),
    "data_at": ("the time of a straight path at which the data are", {0: "x_t = (1 − t) x_0 + t ε and v = ε − x_0",
                                                                      1: "x_t = t x_0 + (1 − t) ε and v = x_0 − ε"}),
    "basis": ("where the bumps in t are", {"paper": "in the middles of equal parts", "released": "from end to end"}),
}
