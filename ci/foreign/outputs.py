"""Reads what a run wrote for other programs, by their own readers or by a schema, and compares it with verdict.json.

    outputs.py RUN_DIR
"""

import json
import pathlib
import sys
import xml.dom.minidom

import jsonschema
import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

# The input of github-action-benchmark's custom tools, by its documentation.
BENCHMARK = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
    },
}
COMMENT_MAX = 65_536

run = pathlib.Path(sys.argv[1])
verdict = json.loads((run / "verdict.json").read_text())
targets = verdict["targets"]
# XML has no place for it.
in_xml = {name.replace("\x1b", "\ufffd"): target for name, target in targets.items()}
flat = {name for name, target in targets.items() if target["expect"] == "flat"}


def junit():
    """Suites, cases and their outcomes; a target that must be flat has a case for each resource's growth."""
    xmlschema.validate(str(run / "junit.xml"), str(pathlib.Path(__file__).with_name("junit.xsd")))
    outcomes = {"pass": [], "fail": [Failure], "inconclusive": [Skipped], "invalid": [Error]}
    checked = 0
    suites = {suite.name.removeprefix("target "): suite for suite in JUnitXml.fromfile(str(run / "junit.xml"))}
    assert set(suites) == {"run", *in_xml}, suites
    for name, suite in suites.items():
        assert suite.tests == len(list(suite)), name
        for kind, count in ((Failure, suite.failures), (Error, suite.errors), (Skipped, suite.skipped)):
            assert count == sum(isinstance(result, kind) for case in suite for result in case.result), name
        for case in suite:
            resource, _, gate = case.name.partition(" ")
            if gate == "growth" and in_xml[name]["expect"] == "flat":
                wanted = outcomes[in_xml[name]["resources"][resource]["verdict"]]
                assert [type(result) for result in case.result] == wanted, case.name
                checked += 1
    assert checked == sum(len(targets[name]["resources"]) for name in flat)
    return f"{len(suites)} suites"


def metrics():
    """Both formats read the same samples, and each growth is that of the verdict."""
    text = (run / "metrics.prom").read_text()
    assert text.endswith("\n# EOF\n")
    families = list(openmetrics(text))
    samples = lambda families: [(s.name, s.labels, s.value) for family in families for s in family.samples]
    assert samples(families) == samples(prometheus(text))
    values = {(name, labels.get("target"), labels.get("resource")): value for name, labels, value in samples(families)}
    for name, target in targets.items():
        for resource, found in target["resources"].items():
            told = values["flatline_growth_per_minute", name, resource]
            assert abs(told - found["growth_per_min"]) < 1e-6, (name, resource, told)
    success = ("flatline_run_last_success_timestamp_seconds", None, None) in values
    assert success == (verdict["outcome"] == "met")
    return f"{len(families)} families"


def benchmark():
    """An entry for each figure of whoever must be flat."""
    entries = json.loads((run / "benchmark.json").read_text())
    jsonschema.validate(entries, BENCHMARK)
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names), "a name is the key from commit to commit"
    assert {name.rsplit(": ", 1)[0] for name in names} == flat, names
    return f"{len(entries)} entries"


def pictures():
    """Each PNG has its SVG, which is well formed and whose letters are those of the names."""
    pairs = list(run.glob("*.png"))
    for png in pairs:
        svg = xml.dom.minidom.parse(str(png.with_suffix(".svg"))).documentElement
        assert svg.tagName == "svg" and svg.getElementsByTagName("text"), png
        assert not svg.getElementsByTagName("script"), png
    return f"{len(pairs)} pictures"


def summary():
    """It fits a comment and holds no markup of others."""
    text = (run / "summary.md").read_text()
    assert len(text.encode()) < COMMENT_MAX and "<script" not in text
    return f"{len(text)} letters"


for read in (junit, metrics, benchmark, pictures, summary):
    print(f"{run.name} {read.__name__}: {read()}")
