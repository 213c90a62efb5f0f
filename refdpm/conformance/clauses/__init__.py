"""The clauses: what an implementation is asked for, family by family, in the order in which each builds on the one before."""

from refdpm.conformance.clauses import gaussian
from refdpm.conformance.clauses.common import Finding, Function, Given, Inputs, Law, Output

FUNCTIONS: tuple[Function, ...] = (*gaussian.FUNCTIONS,)
LAWS: tuple[Law, ...] = ()

__all__ = ["FUNCTIONS", "LAWS", "Finding", "Function", "Given", "Inputs", "Law", "Output"]
