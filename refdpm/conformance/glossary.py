"""The words of the kit, one for each thing: `refdpm explain glossary`."""

GLOSSARY = {
    "quantity": "a function that an adapter may offer: the posterior, a divergence, a layer.",
    "clause": "one output of a quantity, or the gradient for one of its arguments, with a verdict.",
    "law": "a property of several quantities, or the law of what is drawn; it is a clause too.",
    "chapter": "one topic of the kit: its quantities, its laws, and those of its mistakes that are no single edit.",
    "textbook": "the formulas as they are printed, each written once; everybody is judged by it, this package too.",
    "edit": "one change to a formula of the textbook: a factor left out, a sign, a column of the schedule exchanged.",
    "mistake": "a wrong variant, with its source: where it happened, or what it is a variant of; it has an id.",
    "symptom": "a relation between what came and what should have come: a constant factor, a sign, the answer of another t.",
    "subject": "the adapter under test.",
    "adapter": "a module or object with plain functions named as the quantities are; arrays in, arrays out.",
    "profile": "the conventions of an adapter: t from 0 or 1, nats or bits, variance or its logarithm.",
    "power": "what a pass would have rejected: the edits that the inputs tell from the formula.",
    "scale": "how much rounding a formula may do; an error is measured in u·scale, u the unit of the precision.",
    "units": "an error divided by u·scale.",
    "pair": "a function f of this package and its adjoint f_vjp.",
    "gap": "how far a pair is from ⟨w, J v⟩ = ⟨Jᵀw, v⟩, relative to both sides.",
    "digits": "a value in as many decimals as it takes, from the textbook.",
}


def render() -> str:
    """A word a line."""
    return "\n".join(f"{word:10s} {says}" for word, says in GLOSSARY.items())
