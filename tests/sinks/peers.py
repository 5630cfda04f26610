"""A mail server or an S3 server for tests, until standard input ends.

    peers.py smtp FOLDER    TLS from the start and a login; FOLDER gets the authority `ca.pem`
    peers.py s3             moto with one bucket, `data`

Prints the port on the first line. The mail server then prints a JSON object a mail.
"""

import asyncio
import base64
import datetime
import ipaddress
import json
import pathlib
import ssl
import sys


def say(text):
    print(text, flush=True)


def certificate(folder):
    """A certificate for 127.0.0.1 that is its own authority; its file, and that of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(places), False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "ca.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def smtp(folder):
    from aiosmtpd.smtp import SMTP, AuthResult

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, options):
            if address.startswith("unknown@"):
                return "550 no such person"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            mail = {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "data": base64.b64encode(envelope.content).decode(),
            }
            say(json.dumps(mail))
            return "250 taken"

    def login(server, session, envelope, mechanism, data):
        known = data.login == b"me@example.com" and data.password == b"s3cret"
        # Not handled: the server itself says 535.
        return AuthResult(success=known, handled=known)

    cert, key = certificate(pathlib.Path(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def session():
        return SMTP(
            Handler(),
            hostname="localhost",
            authenticator=login,
            auth_required=True,
            auth_require_tls=False,
        )

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(session, "127.0.0.1", 0, ssl=context)
        say(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, sys.stdin.read)

    asyncio.run(serve())


def s3():
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="s3cret",
    )
    client.create_bucket(Bucket="data")
    say(port)
    sys.stdin.read()


if sys.argv[1] == "smtp":
    smtp(sys.argv[2])
else:
    s3()
