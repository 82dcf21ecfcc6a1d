"""Requests made up from the API's description: none breaks the gateway, every answer is as described."""

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from tests.gateway.harness import GatewayProcess
from tests.gateway.test_clients import KEY, answering, gateway

__all__ = ["gateway"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method"
)


async def test_made_up_requests_find_no_5xx_and_no_answer_beside_the_description(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    async with answering(gateway):
        fuzz = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")), "run", gateway.url + "/openapi.json",
            "--header", f"Authorization: Bearer {KEY}", "--checks", CHECKS,
            "--exclude-path", "/v1/embeddings",  # 501 by design
            "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1",
            "--request-timeout", "20", "--generation-database", "none", "--no-color",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
            env={**os.environ, "NO_PROXY": "*"},
        )  # fmt: skip
        try:
            async with asyncio.timeout(150):
                said, _ = await fuzz.communicate()
        finally:
            if fuzz.returncode is None:
                fuzz.kill()
                await fuzz.communicate()
    assert fuzz.returncode == 0, said.decode()[-6000:]
    figures = await asyncio.to_thread(
        httpx.get, gateway.url + "/metrics", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
    )
    for path in ("/v1/chat/completions", "/v1/completions"):
        answered = re.search(rf'http_requests_total{{path="{path}",status="200"}} (\d+)', figures.text)
        assert answered and int(answered[1]) >= 5, said.decode()[-6000:]
    assert b"Traceback" not in gateway.log.read_bytes()
