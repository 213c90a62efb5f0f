"""The clauses: what an implementation is asked for, family by family, in the order in which each builds on the one before."""

from refdpm.conformance.families import (binomial, bits_bound, bound, categorical, ddpm_bound, decoder, gaussian, laws, layers,
                                        likelihood, objective, parametrisation, product, purity, reverse, sampler,
                                        sampler_laws, schedule)
from refdpm.conformance.families.common import Finding, Function, Given, Inputs, Law, Output

FUNCTIONS: tuple[Function, ...] = (*schedule.FUNCTIONS, *gaussian.FUNCTIONS, *binomial.FUNCTIONS, *categorical.FUNCTIONS,
                                     *parametrisation.FUNCTIONS, *reverse.FUNCTIONS, *bound.FUNCTIONS,
                                     *decoder.FUNCTIONS, *ddpm_bound.FUNCTIONS, *bits_bound.FUNCTIONS, *likelihood.FUNCTIONS,
                                     *objective.FUNCTIONS, *sampler.FUNCTIONS,
                                     *layers.FUNCTIONS, *product.FUNCTIONS)
LAWS: tuple[Law, ...] = (*schedule.LAWS, *laws.LAWS, *sampler_laws.LAWS, *purity.LAWS)

__all__ = ["FUNCTIONS", "LAWS", "Finding", "Function", "Given", "Inputs", "Law", "Output"]
