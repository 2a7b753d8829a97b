"""Services over HTTPS, with certificates of a company's own."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import serving
from conftest import Papagaio, Tiny
from serving import Service

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.sending import Body, open_client
from papagaio.errors import BadAnswer, BadSettings

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the command openssl")
REQUEST = (str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the certificate of a company, and one that it signed for the host `localhost`."""
    made = tmp_path_factory.mktemp("certificates")
    ca = ("-subj", "/CN=Parrots", "-keyout", "ca.key", "-out", "ca.pem")
    subprocess.run([*REQUEST, *ca], check=True, capture_output=True, cwd=made)
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "own.key", "-out", "own.pem")
    name = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run([*REQUEST, *signed, *name], check=True, capture_output=True, cwd=made)
    return made


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "own.pem", folder / "own.key")
    answers = {"/invocations": serving.instances("inputs")}
    with serving.serving(Service(answers), tls) as running:
        yield running


def sent(address: str) -> bytes:
    client = open_client(address, Declaration(), lambda _: None)
    try:
        body = Body(json.dumps({"inputs": [[[[0.0, 0.0, 0.0]] * 4] * 2]}).encode())
        return client.post(f"{address}/invocations", body)
    finally:
        client.close()


def test_a_companys_own_certificate_is_trusted_where_the_system_trusts_it(
    service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    assert b"predictions" in sent(service.address)


def test_a_certificate_that_nobody_here_trusts_is_one_line(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(BadAnswer, match=r"invocations has a certificate .* SSL_CERT_FILE$") as no:
        sent(service.address)
    assert "local issuer" in str(no.value)
    assert service.received == []


def test_a_certificate_of_another_host_is_one_line(
    service: Service, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    with pytest.raises(BadAnswer, match=r"certificate is not valid for '127\.0\.0\.1'.*address"):
        sent(service.address.replace("localhost", "127.0.0.1"))
    assert service.received == []


def test_an_audit_of_a_service_whose_certificate_does_not_fit_ends_in_one_line(
    service: Service, tiny: Tiny, papagaio: Papagaio
) -> None:
    ended = papagaio(*tiny.audit(box=f"{service.address}/invocations", scale="-1..1"))
    assert ended.code == 2
    assert "has a certificate that is not trusted here" in ended.complaint
    assert service.received == []


def test_a_service_that_speaks_no_https_is_one_line() -> None:
    with serving.serving(Service()) as plain:
        address = plain.address.replace("http:", "https:")
        with pytest.raises(BadAnswer, match="does not speak HTTPS as this machine does"):
            sent(address)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(BadSettings, match=r"SSL_CERT_FILE or .* cannot be read"):
        open_client("https://localhost:1", Declaration())
