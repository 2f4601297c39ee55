"""What aiokafka is told to be let in by a broker."""

import ssl
from pathlib import Path

import pytest

from pipeline.runtime import kafka
from pipeline.settings import KafkaSettings
from topics.errors import SettingsError

AUTHORITY = str(Path(__file__).with_name("authority.pem"))


def test_plaintext_needs_nothing_else() -> None:
    assert kafka.security(KafkaSettings()) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl_without_tls_gives_mechanism_and_login_only(mechanism: str) -> None:
    settings = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism=mechanism,  # type: ignore[arg-type]
        username="me",
        password="hush",
    )
    assert kafka.security(settings) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "me",
        "sasl_plain_password": "hush",
    }


def test_tls_verifies_the_broker_and_its_name() -> None:
    options = kafka.security(KafkaSettings(security_protocol="SSL"))
    assert options.keys() == {"security_protocol", "ssl_context"}
    assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert options["ssl_context"].check_hostname


def test_only_the_named_authority_is_trusted() -> None:
    options = kafka.security(KafkaSettings(security_protocol="SSL", ssl_ca_file=AUTHORITY))
    (trusted,) = options["ssl_context"].get_ca_certs()
    assert trusted["subject"] == ((("commonName", "Millrace test authority"),),)


def test_sasl_over_tls_has_both() -> None:
    settings = KafkaSettings(security_protocol="SASL_SSL", username="me", password="hush")
    assert kafka.security(settings).keys() == {
        "security_protocol",
        "ssl_context",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
    }


@pytest.mark.parametrize(
    "settings",
    [
        KafkaSettings(ssl_ca_file="/absent/ca.pem"),
        KafkaSettings(ssl_ca_file=__file__),
        KafkaSettings(ssl_cert_file="/absent/client.pem"),
        KafkaSettings(ssl_cert_file=AUTHORITY),
    ],
    ids=["no authority file", "no certificate in it", "no client file", "no key in it"],
)
def test_a_file_that_cannot_be_loaded_is_an_error_of_the_settings(settings: KafkaSettings) -> None:
    with pytest.raises(SettingsError, match=r"check kafka\.ssl_"):
        kafka.ssl_context(settings)
