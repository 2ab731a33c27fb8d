"""Executes operators of Airflow's amazon provider without AWS, and prints the requests that they would have made.

Its one argument is JSON: a list of lists of `operator` and `arguments`, as `penstock plan --format airflow` has them.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any
from unittest.mock import MagicMock

ANSWERS = {
    "CreateApplication": {"applicationId": "00made", "name": "penstock", "arn": "arn"},
    "StartJobRun": {"jobRunId": "run", "id": "run", "virtualClusterId": "abc"},
    "AddJobFlowSteps": {"StepIds": ["s-1"]},
    "RunJobFlow": {"JobFlowId": "j-1"},
    "ListClusters": {"Clusters": [{"Id": "j-1ABC", "Name": "nightly"}]},
    "DescribeCluster": {"Cluster": {"Id": "j-1", "LogUri": "s3://shop/logs/"}},
}


def main() -> None:
    """Execute them all."""
    from botocore.client import BaseClient

    made: list[list[Any]] = []
    application = {"state": "STARTED"}

    def asked(client: Any, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        del client
        made.append([operation, request])
        if operation in ("CreateApplication", "StartApplication"):
            application["state"] = f"{operation.removesuffix('Application').removesuffix('e')}ed".upper()
        if operation == "GetApplication":
            return {"application": application}
        return {**ANSWERS.get(operation, {}), "ResponseMetadata": {"HTTPStatusCode": 200}}

    BaseClient._make_api_call = asked
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for listed in json.loads(sys.argv[1]):
        for entry in listed:
            module, _, name = entry["operator"].rpartition(".")
            kind = getattr(import_module(module), name)
            # As it is printed, but for the waiting: nobody answers here.
            arguments = {**entry["arguments"], "wait_for_completion": False, "aws_conn_id": None}
            kind(**arguments).execute(MagicMock())
    asking = ("Get", "List", "Describe", "StartApplication")
    print("requests " + json.dumps([one for one in made if not one[0].startswith(asking)]))


if __name__ == "__main__":
    main()
