"""The tables of the diagnosis matrix are what the results say."""

from bench.diagnosis_page import HELD, LIVE, PAGE, PROCESS, kept, rendered

_ROW = {"number": "2", "name": "casing", "is": "schema", "also": [], "said": "schema"}
_LIVE = {
    "flights, linear": {
        "faults": [
            {**_ROW, "right": True},
            {**_ROW, "number": "9", "said": "drift", "detail": "drift.covariate", "right": False},
        ],
        "controls": [{**_ROW, "is": "healthy", "said": "healthy", "right": True}],
        "in_process_only": {"65": "no salt"},
    }
}


def test_tables_are_filled_from_the_results() -> None:
    names = ("live", "live-flights", "live-misses", "live-missing", "process-misses")
    page = "\n".join(f"<!-- table {name} -->\nold\n<!-- /table -->" for name in names)
    said = rendered(page, _LIVE, {})
    assert "old" not in said
    assert "| flights, linear | 1 of 2 | 1 of 1 |" in said
    assert "| is \\ said | drift | healthy | schema |" in said
    assert "| schema | 1 |  | 1 |" in said
    assert "- flights, linear: case 9, casing: schema, said drift.covariate" in said
    assert "- case 65: no salt (flights)" in said
    assert rendered(said, _LIVE, {}) == said


def test_held_out_worlds_are_told_by_share_and_by_run() -> None:
    rows = [
        {**_ROW, "number": "client 5%", "name": "casing in 5%", "right": True},
        {**_ROW, "number": "client 5%", "name": "cut in 5%", "right": False, "detail": "healthy"},
        {**_ROW, "number": "client 20%", "name": "cut in 20%", "right": False, "detail": "healthy"},
    ]
    held = {"orders, linear, since": {"faults": rows, "controls": []}}
    page = "".join(
        f"<!-- table {name} -->\n<!-- /table -->\n"
        for name in ("held-first", "held-since", "held-misses")
    )
    said = rendered(page, {}, {}, held)
    assert "Not run yet." in said
    assert "| orders, linear |  | 0 of 1 | 1 of 2 |" in said
    assert "- orders, linear: cut (5%, 20%): said healthy" in said


def test_the_page_is_as_the_results_have_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page, kept(LIVE), kept(PROCESS), kept(HELD)) == page
