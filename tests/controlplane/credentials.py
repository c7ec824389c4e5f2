"""The certificates of one control plane: an authority, a serving certificate, and one client certificate per user.

Client certificates and not a token file, because users can be added while the API server runs.
"""

import base64
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = timedelta(days=2)  # Longer than any test run, short enough to be worthless afterwards.
CLOCK_SKEW = timedelta(hours=1)


class Authority:
    """Signs certificates and writes kubeconfigs into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "control plane under test")])
        self.certificate = folder / "ca.crt"
        certificate = (
            _builder(subject=self._name, issuer=self._name, key=self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def serving_pair(self) -> tuple[Path, Path]:
        """Certificate and key for a server on the loopback address."""
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"), x509.DNSName("kubernetes")]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        extra = x509.SubjectAlternativeName(names)
        return self._issue("serving", subject=subject, usage=ExtendedKeyUsageOID.SERVER_AUTH, extra=extra)

    def kubeconfig(self, *, user: str, server: str, namespace: str = "default", groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig with which `user`, member of `groups`, speaks to `server`."""
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        certificate, key = self._issue(f"user-{user}", subject=subject, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": server, "certificate-authority-data": _b64(self.certificate)}}
            ],
            "users": [
                {"name": user, "user": {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)}}
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
            "current-context": "test",
        }
        path = self._folder / f"{user}.kubeconfig"
        path.write_text(yaml.safe_dump(content), "utf-8")
        return path

    def _issue(
        self,
        name: str,
        *,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        extra: x509.SubjectAlternativeName | None = None,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject=subject, issuer=self._name, key=key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if extra:
            builder = builder.add_extension(extra, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_path = self._folder / f"{name}.crt"
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return certificate_path, write_private_key(self._folder / f"{name}.key", key)


def write_private_key(path: Path, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """A private key in a file that only its owner may read; a fresh one when none is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


def write_public_key(path: Path, private_key: Path) -> Path:
    """The public half of a private key, for those who only verify."""
    key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


def _builder(*, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
