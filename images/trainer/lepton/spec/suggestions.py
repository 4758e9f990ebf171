"""What is said about a name that there is none of."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, known: Iterable[str], owner: str | None = None) -> str:
    """`algorithm ppo is unknown (did you mean PPO?); there are PPO, DQN`; with an owner, it is
    unknown to that one, which has the others."""
    names = list(known)
    shown = name if isinstance(name, str) and name else repr(name)
    near = did_you_mean(name, names)
    hint = f" ({near})" if near else ""
    where, rest = (f" to {owner}", "it has") if owner else ("", "there are")
    return f"{what} {shown} is unknown{where}{hint}; {rest} {', '.join(names) or 'none'}"


def did_you_mean(name: object, known: Iterable[str], most: int = 1) -> str:
    """A question for the known names that are most like this one; empty where none is. The same
    name in other letters, large or small, is the only one asked for."""
    folded = {one.lower(): one for one in known}
    text = str(name).lower()
    near = [text] if text in folded else difflib.get_close_matches(text, folded, n=most)
    return f"did you mean {' or '.join(folded[one] for one in near)}?" if near else ""
