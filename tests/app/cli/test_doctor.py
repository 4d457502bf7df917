"""The doctor names the state of each part."""

import json

from typer.testing import CliRunner

from app.cli.main import app


def test_the_doctor_checks_every_part() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {"python", "packages", "device", "driver", "memory", "shared memory", "compiler", "disk"} <= {
        check["name"] for check in document["checks"]
    }
