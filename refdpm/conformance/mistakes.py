"""Named mistakes: wrong variants of single functions.  Nearly half were found in other people's code, which their
`source` names; the others are variants of those, or slips that are easily made.

They serve twice.  Planted one after another they prove that the checks see what they claim to see (`conformance.detection`); and
when a foreign implementation disagrees, the mistake that reproduces its numbers has a name and a place where it happened before.
"""

from refdpm.conformance.chapters import in_chapters
from refdpm.conformance.planting import Mistake, planted

MISTAKES: tuple[Mistake, ...] = tuple(in_chapters(Mistake))

__all__ = ["MISTAKES", "Mistake", "planted"]
