"""GitHub's workflows without GitHub: whether their time limits fit into each other, and a rehearsal of a job's commands."""

import itertools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

FOLDER = Path(".github/workflows")
UNITS_MIN = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
# The harness judges and draws after its limit; the step ends before the job, so that what comes after it still runs.
HARNESS_ENDS_WITHIN_MIN = 8
PHASES = ("history", "warmup", "load", "drain")


def load(path):
    return yaml.safe_load(Path(path).read_text())


def minutes(text):
    parts = re.findall(r"([\d.]+)\s*([a-z]+)", text)
    return sum(float(number) * UNITS_MIN[unit[0]] for number, unit in parts)


def planned(scenario):
    """How long the scenario runs, as it stands in its file."""
    loaded = load(f"scenarios/{scenario}.yaml")
    while "include" in loaded:
        below = load(Path("scenarios") / loaded.pop("include"))
        loaded = {**below, **loaded}
    total = sum(minutes(loaded["phases"][phase]) for phase in PHASES)
    return total / float(loaded.get("compress", 1))


def evaluate(text, known):
    """The few expressions that the workflows use; another one is an error, and not the empty text as at GitHub."""

    def one(match):
        for term in match[1].split("||"):
            term = term.strip()
            if term.startswith("'"):
                return term.strip("'")
            if known.get(term):
                return known[term]
        raise SystemExit(f"no value for {match[0]}")

    return re.sub(r"\$\{\{(.*?)\}\}", one, text)


def limits():
    """run < harness limit < step < job, in every job that soaks."""
    seen = 0
    for path in sorted(FOLDER.glob("*.yml")):
        for name, job in load(path)["jobs"].items():
            where = f"{path}: {name}"
            assert "timeout-minutes" in job, f"{where}: GitHub's own limit is six hours"
            steps = [step for step in job["steps"] if "run" in step]
            sums = sum(step.get("timeout-minutes", 1) for step in steps)
            assert sums <= job["timeout-minutes"], f"{where}: its steps may take {sums} minutes, the job less"
            for step in steps:
                soak = re.match(r'ci/soak "?(\$?\w+)"? (\w+) ', step["run"])
                if not soak:
                    continue
                seen += 1
                scenario = evaluate(job["env"][soak[1][1:]], {}) if soak[1].startswith("$") else soak[1]
                run, harness = planned(scenario), minutes(soak[2])
                assert run + 5 <= harness, f"{where}: {scenario} takes {run} minutes of {harness}"
                assert harness + HARNESS_ENDS_WITHIN_MIN <= step["timeout-minutes"], f"{where}: the step ends first"
                print(f"{where}: {scenario} {run:g} min < {harness:g} < {step['timeout-minutes']} < {job['timeout-minutes']}")
    assert seen >= 3, f"only {seen} soaks were found"


def rehearse(clone, *given):
    """Jobs one after the other, each once for every combination of its matrix.

    What has an equals sign is an input, or with `matrix.shard=2` what the matrix is narrowed to. As at GitHub a job that
    fails does not keep the others from being carried out.
    """
    pairs = dict(one.split("=", 1) for one in given if "=" in one)
    narrowed = {key: value for key, value in pairs.items() if key.startswith("matrix.")}
    inputs = {f"inputs.{key}": value for key, value in pairs.items() if key not in narrowed}
    jobs = [known_job(clone, one) for one in given if "=" not in one]
    if not jobs:
        raise SystemExit("no job is named: WORKFLOW:JOB, e.g. nightly:soak")
    run_ids = {workflow: str(place) for place, workflow in enumerate(dict.fromkeys(flow for flow, _ in jobs), 1)}
    failed = []
    for workflow, name in jobs:
        document = load(clone / FOLDER / f"{workflow}.yml")
        matrix = document["jobs"][name].get("strategy", {}).get("matrix", {})
        assert all(isinstance(values, list) for values in matrix.values()), f"{workflow}: only lists are understood"
        assert not {"include", "exclude"} & set(matrix), f"{workflow}: include and exclude are not understood"
        for values in itertools.product(*matrix.values()):
            drawn = {f"matrix.{key}": str(value) for key, value in zip(matrix, values)}
            if any(drawn.get(key, value) != value for key, value in narrowed.items()):
                continue
            if not rehearse_job(clone, document, name, {**inputs, **drawn, "github.run_id": run_ids[workflow]}):
                failed.append(":".join([workflow, name, *values_told(drawn)]))
    if failed:
        raise SystemExit(f"not green: {', '.join(failed)}")


def known_job(clone, named):
    """A workflow and a job of it; one that there is not ends all before anything is carried out."""
    workflow, _, name = named.partition(":")
    path = clone / FOLDER / f"{workflow}.yml"
    jobs = list(load(path)["jobs"]) if path.is_file() else []
    if name not in jobs:
        known = f"{path.name} has {', '.join(jobs)}" if jobs else f"there is no {FOLDER / path.name}"
        raise SystemExit(f"{named}: no such job, as {known}")
    return workflow, name


def values_told(drawn):
    return [f"{key}={value}" for key, value in drawn.items()]


def rehearse_job(clone, document, name, known):
    """Every command of a job in order, as the runner gives them to a shell. Answers whether it is green."""
    drawn = {key: value for key, value in known.items() if key.startswith("matrix.")}
    print("==", f"{document['name']}: {name}", *values_told(drawn), flush=True)
    job = document["jobs"][name]
    known = {"github.run_attempt": "1", "github.ref": "refs/heads/main", **known}
    commit = subprocess.check_output(["git", "-C", clone, "rev-parse", "HEAD"], text=True).strip()
    with tempfile.TemporaryDirectory() as runner:
        runner = Path(runner)
        files = {}
        for file in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH"):
            files[file] = str(runner / file)
            Path(files[file]).touch()
        environment = os.environ | files | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_JOB": name,
            "GITHUB_REF": known["github.ref"],
            "GITHUB_REPOSITORY": "example/flatline",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": known["github.run_id"],
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": commit,
            "GITHUB_WORKFLOW": document["name"],
            "GITHUB_WORKSPACE": str(clone),
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(runner),
        }
        environment |= {key: evaluate(str(value), known) for key, value in job.get("env", {}).items()}
        failed = False
        for step in job["steps"]:
            if "uses" in step:
                print(f"-- left out: {step['uses']}", flush=True)
                continue
            if failed and step.get("if") != "always()":
                print(f"-- not run after a failure: {step['run']}", flush=True)
                continue
            commands, shell = evaluate(step["run"], known), step.get("shell", "bash -e {0}")
            # Root needs no sudo, and a machine of root's may have none.
            if os.geteuid() == 0:
                commands = re.sub(r"^sudo (-E )?", "", commands, flags=re.MULTILINE)
                shell = shell.removeprefix("sudo -E ").replace("env PATH={path} ", "")
            script = runner / "step.sh"
            script.write_text(commands + "\n")
            command = shell.replace("{0}", str(script)).split()
            print(f"-- {step['run']}", flush=True)
            limit_s = step.get("timeout-minutes", job["timeout-minutes"]) * 60
            try:
                code = subprocess.run(command, cwd=clone, env=environment, timeout=limit_s, check=False).returncode
            except subprocess.TimeoutExpired:
                code = f"nothing: it took longer than its {limit_s / 60:g} minutes"
            if code != 0:
                print(f"-- ended with {code}", flush=True)
                failed = True
        summary = Path(files["GITHUB_STEP_SUMMARY"]).read_text()
    if failed:
        return False
    print(f"-- green; the summary has {len(summary.encode())} bytes")
    assert "ci/soak" not in str(job) or len(summary) > 500, "a soak says what came of it"
    return True


if __name__ == "__main__":
    if sys.argv[1] == "limits":
        limits()
    else:
        rehearse(Path(sys.argv[2]), *sys.argv[3:])
