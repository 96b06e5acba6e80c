"""A rollout in words, from its JSON. It asks nothing and decides nothing."""

from typing import Any

__all__ = [
    "entry_line",
    "past",
    "percent",
    "spell",
    "stands",
    "step_of",
    "verification_line",
    "waits",
    "ways",
]

_ON = "go on: serinus rollout {} {}"
_ALL_THE_SAME = "go on all the same: serinus rollout promote {}"
_BACK = "go back: serinus rollout abort {}"


def percent(basis_points: int) -> str:
    """``250`` → ``2.5 %``."""
    return f"{basis_points / 100:g} %"


def step_of(found: dict[str, Any]) -> str:
    """``step 2 of 5``; empty when it is not on its steps."""
    if found.get("position") != "steps":
        return ""
    return f"step {found['step'] + 1} of {len(found['steps'])}"


def stands(found: dict[str, Any]) -> str:
    """Where it stands, in one line."""
    parts = [f"{found['phase']} at {percent(found['weight_bp'])}"]
    if found.get("shadow_bp"):
        parts[0] += f", copies of {percent(found['shadow_bp'])}"
    parts += filter(None, [step_of(found)])
    return f"{', '.join(parts)}: {found['reason']}"


def waits(found: dict[str, Any]) -> str:
    """What it waits for; in a step also for how long already, and how long at most."""
    line = f"waits for {found['waiting_for']}"
    age = found.get("waiting_age_s")
    if age is None or found["phase"] not in ("SHADOWING", "PROGRESSING"):
        return line
    return f"{line} (for {spell(age)}, at most {found['spec']['step']['timeout']})"


def ways(found: dict[str, Any]) -> str:
    """The commands that lead on from where it stands; empty while it needs nobody."""
    name = found["endpoint"]
    match found["phase"], found.get("cause"):
        case "PAUSED", "approval":
            some = [_ON.format("approve", name), _BACK.format(name)]
        case "PAUSED", "user":
            some = [_ON.format("resume", name), _BACK.format(name)]
        case "PAUSED", "undecided" | "no_data":
            more = f"give it its time again: serinus rollout resume {name}"
            some = [more, _ALL_THE_SAME.format(name), _BACK.format(name)]
        case "PAUSED", "regressed" | "invalid" | "diagnosed":
            some = [_ALL_THE_SAME.format(name), _BACK.format(name)]
        case "SUCCEEDED", _ if found["weight_bp"]:
            some = [f"back to {found['stable']}: serinus rollout undo {name}"]
        case "ROLLED_BACK", "candidate_failed":
            at = f"/api/2.0/serving-endpoints/{name}/served-models/{found['candidate']}/build-logs"
            some = [f"what it printed: GET {at}"]
        case "ROLLED_BACK", "regressed":
            forgetful = f"serinus rollout retry {name} --fresh-evidence"
            some = [f"once more, forgetting what was learnt: {forgetful}"]
        case _:
            some = []
    return "\n".join(some)


def spell(seconds: float) -> str:
    """``75.2`` → ``1 min 15 s``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s"]
    return " ".join(filter(None, parts))


def past(found: dict[str, Any]) -> str:
    """One line of the history: what ``--id`` takes comes whole, and what matters comes first."""
    began = str(found.get("started_at") or "-")[:19].replace("T", " ")
    versions = f"{found.get('stable') or '-'} → {found['candidate']}"
    who = f"{found['strategy']} by {found.get('created_by') or '-'}"
    told = found.get("reason") or ""
    return "  ".join(filter(None, [began, found["id"], found["phase"], versions, who, told]))


def entry_line(entry: dict[str, Any]) -> str:
    """One entry of the journal. Where the phase stayed, what it waits for is the news."""
    data = entry.get("data") or {}
    told = data.get("reason") or data.get("why") or ""
    moved = ""
    if data.get("from") != data.get("to"):
        moved = f" {data['from']} → {data['to']}"
    elif data.get("event") == "observed" and data.get("waiting_for"):
        told = f"at {percent(data.get('candidate_bp', 0))}, waits for {data['waiting_for']}"
    line = f"{entry['at']}  {entry['actor']}  {data.get('event', entry['kind'])}{moved}  {told}"
    return line.rstrip()


def verification_line(found: dict[str, Any]) -> str:
    """How the candidate's verification stands, in one line; empty when nothing is known of it."""
    if found.get("status") == "running":
        return "verification is running"
    if found.get("waived"):
        return f"verification waived by {found['waived']}"
    if found.get("result") is None:
        return ""
    gates = found.get("gates") or []
    for gate in gates:
        if gate["result"] == "fail":
            where = ", ".join(filter(None, [gate.get("class"), gate.get("stage")]))
            shown = f" ({where})" if where else ""
            return f"verification failed at {gate['name']}{shown}: {gate.get('detail') or ''}"
    passed = sum(gate["result"] == "pass" for gate in gates)
    rows = found.get("rows", 0)
    shown = f"{rows} golden rows" if rows else "no golden rows: capture a contract to have some"
    counts = f"{passed} of {len(gates)} gates, {len(gates) - passed} skipped, none failed"
    return f"verification passed: {counts}; {shown}"
