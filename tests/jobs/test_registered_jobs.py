"""Every job that the code pushes, or finds in a sweep, has a task in a queue."""

import ast

from portal.about import ROOT
from portal.jobs.registry import job_registry


def named_jobs():
    """Yield the literal names of pushed jobs and the values of constants called JOB."""
    for path in sorted((ROOT / "portal").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
                "push",
                "push_after_commit",
            }:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield path.name, first.value
            elif isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["JOB"]:
                yield path.name, ast.literal_eval(node.value)


def test_every_named_job_is_registered(app):
    found = set(named_jobs())
    assert len(found) > 8
    registered = job_registry(app).queue_of_job
    assert {one for one in found if one[1] not in registered} == set()
