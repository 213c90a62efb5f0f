"""What counts as an explanation of a planted mistake."""

from refdpm.conformance.judge import BOTH
from refdpm.conformance.naming import BY_ID


def explains(result, mistake):
    """Whether a result names the mistake that was planted; or says in words what gives the same numbers, but no other mistake."""
    names = {id for name in (result.mistake or "", *result.also) for id in name.split(BOTH)}
    return mistake.id in names or bool(result.mistake) and not any(id in BY_ID for id in result.mistake.split(BOTH))
