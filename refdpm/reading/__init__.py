"""The package as one page to read: every module in reading order, each function beside its adjoint, its formula and its evidence.

    source       the modules, cut into headings, functions, classes and other lines
    evidence     what speaks for a function: equations, formulas, clauses, what was measured
    text         docstrings and code as HTML, every name a link
    page         all of it together

The page needs no network and no script.
"""
