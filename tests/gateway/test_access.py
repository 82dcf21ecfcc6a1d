"""Who may ask: keys, names of hosts and pages, certificates."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ringcore.spec.control import Fatal
from tests.gateway.harness import FakeRank, GatewayProcess, chat, wait_exit
from tests.gateway.test_refusals import error_of

KEY = "mlxring-0123456789abcdef0123"
PAGE = "https://chat.example.org"
MODELS = "/v1/models"


@pytest.fixture(scope="module")
def keyed(model: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(model, api_key=KEY, api_bind="0.0.0.0", api_origins=(PAGE,)) as process:
        yield process.ready()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), {"Authorization": "Bearer"}, bearer(KEY[:-1]), bearer(KEY + "0"),
     bearer("schl\u00fcssel"), {"Authorization": f"Basic {KEY}"}],
)  # fmt: skip
def test_without_the_key_nothing_is_answered_but_how_to_get_it(
    keyed: GatewayProcess, headers: dict[str, str]
) -> None:
    sent = {name: value.encode() for name, value in headers.items()}
    for method, path in (("GET", MODELS), ("POST", "/v1/chat/completions"), ("GET", "/metrics")):
        response = httpx.request(method, keyed.url + path, headers=sent, trust_env=False)
        error = error_of(response, 401)
        assert error["code"] == "invalid_api_key"
        assert "mlxring key" in str(error["message"])
        assert KEY not in response.text
        assert response.headers["www-authenticate"] == "Bearer"
    assert KEY not in keyed.log.read_text()


async def test_with_the_key_everything_is_answered(keyed: GatewayProcess) -> None:
    rank = await FakeRank(keyed).connect()
    async with httpx.AsyncClient(base_url=keyed.url, headers=bearer(KEY), trust_env=False) as client:
        assert (await client.get(MODELS)).status_code == 200
        assert (await client.post("/v1/chat/completions", json=chat(temperature=9))).status_code == 400
    await rank.close()


def test_whether_it_lives_is_told_without_a_key(keyed: GatewayProcess) -> None:
    assert httpx.get(keyed.url + "/health/live", trust_env=False).status_code == 200


def test_a_key_that_is_asked_for_and_not_there_ends_the_gateway_with_the_remedy(model: Path) -> None:
    with GatewayProcess(model, api_key="short") as gateway:
        assert wait_exit(gateway.process, 10) == 6
        gateway.wait(lambda m: isinstance(m, Fatal), "its last words")
        assert "key" in gateway.said(Fatal)[0].failure.cause


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8100", "localhost.evil.example", "10.0.0.1", "[::2]:1", "[", "a b"]
)
def test_a_name_that_was_bent_to_loopback_is_refused(gateway: GatewayProcess, host: str) -> None:
    error_of(httpx.get(gateway.url + MODELS, headers={"Host": host}, trust_env=False), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.1.2.3:8100", "[::1]:8100"])
def test_the_names_of_this_machine_are_answered(gateway: GatewayProcess, host: str) -> None:
    assert httpx.get(gateway.url + MODELS, headers={"Host": host}, trust_env=False).status_code == 200


@pytest.mark.parametrize("origin", [PAGE, "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_page_from_elsewhere_is_refused_on_loopback(gateway: GatewayProcess, origin: str) -> None:
    response = httpx.post(
        gateway.url + "/v1/chat/completions", json=chat(), headers={"Origin": origin}, trust_env=False
    )
    assert origin in str(error_of(response, 403)["message"])
    assert "access-control-allow-origin" not in response.headers


def test_the_apis_own_page_is_answered(gateway: GatewayProcess) -> None:
    headers = {"Origin": gateway.url}
    assert httpx.get(gateway.url + MODELS, headers=headers, trust_env=False).status_code == 200


def test_a_page_that_is_named_may_ask_and_another_may_not(keyed: GatewayProcess) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    url = keyed.url + "/v1/chat/completions"
    allowed = httpx.options(url, headers={"Origin": PAGE, **asked}, trust_env=False)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == PAGE
    other = httpx.options(url, headers={"Origin": "https://evil.example", **asked}, trust_env=False)
    assert "access-control-allow-origin" not in other.headers
    refused = httpx.get(keyed.url + MODELS, headers={"Origin": PAGE}, trust_env=False)
    assert refused.headers["access-control-allow-origin"] == PAGE  # a page can read why


def make_certificate(folder: Path, *more: str) -> tuple[str, str]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert), *(more or ("-nodes",))],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(cert), str(key)


def test_with_a_certificate_it_speaks_tls_that_a_client_can_verify(model: Path, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    with GatewayProcess(model, api_tls_cert=cert, api_tls_key=key) as gateway:
        gateway.ready()
        trusting = ssl.create_default_context(cafile=cert)
        assert httpx.get(gateway.url + MODELS, verify=trusting, trust_env=False).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(gateway.url.replace("https", "http") + MODELS, trust_env=False)


@pytest.mark.parametrize(
    "trouble",
    [
        "password",
        pytest.param("missing", marks=pytest.mark.slow),
        pytest.param("foreign", marks=pytest.mark.slow),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_by_its_file(
    model: Path, tmp_path: Path, trouble: str
) -> None:
    locked = ("-passout", "pass:secret") if trouble == "password" else ()
    cert, key = make_certificate(tmp_path, *locked)
    if trouble == "missing":
        Path(cert).unlink()
    elif trouble == "foreign":
        Path(key).write_text("no key")
    with GatewayProcess(model, api_tls_cert=cert, api_tls_key=key) as gateway:
        assert wait_exit(gateway.process, 10) == 6
        gateway.wait(lambda m: isinstance(m, Fatal), "its last words")
        failure = gateway.said(Fatal)[0].failure
        assert cert in failure.cause
        assert "tls_cert" in failure.remedy
        assert b"Traceback" not in gateway.log.read_bytes()


@pytest.mark.slow
def test_beside_the_address_it_is_bound_to_it_answers_on_loopback_for_the_console(model: Path) -> None:
    with GatewayProcess(model, api_bind="127.0.0.2", api_key=KEY) as gateway:
        gateway.ready()
        for address in ("127.0.0.1", "127.0.0.2"):
            url = f"http://{address}:{gateway.port}{MODELS}"
            assert httpx.get(url, headers=bearer(KEY), trust_env=False).status_code == 200
