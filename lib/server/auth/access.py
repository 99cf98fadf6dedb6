"""The access settings of a server: given once, by options of `serve` or by environment variables."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

USERS_VARIABLE = "TOPOLABEL_USERS"
AUDIENCE_VARIABLE = "TOPOLABEL_OIDC_AUDIENCE"
OPEN_VARIABLE = "TOPOLABEL_OPEN"
ENABLE_VARIABLE = "MONAI_LABEL_AUTH_ENABLE"
REALM_VARIABLE = "MONAI_LABEL_AUTH_REALM_URI"
DEFAULT_REALM = "http://localhost:8080/realms/monailabel"
YES = ("1", "true", "yes", "on")


class BadAccess(ValueError):
    """Raised for access settings that would admit more people than intended; the message gives the next step."""


@dataclass(frozen=True)
class Access:
    """Access settings: a users file, an OIDC provider, or no sign-in.

    Args:
        users: Path of the users file; empty for none.
        realm: Address of the OIDC provider's realm; empty for none.
        audience: Audience that the provider's tokens must name; empty to require MONAI_LABEL_AUTH_CLIENT_ID.
        open: Whether other machines on the network may use the server without signing in.
    """

    users: str = ""
    realm: str = ""
    audience: str = ""
    open: bool = False

    def __post_init__(self) -> None:
        if self.users and self.realm:
            raise BadAccess("a users file and an OIDC realm are both set: give one of them, not both")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Access":
        """Return the settings in `environment`; MONAI Label's own variables enable the OIDC provider."""
        enabled = environment.get(ENABLE_VARIABLE, "").lower() in YES
        realm = environment.get(REALM_VARIABLE, "") or DEFAULT_REALM
        users, audience = environment.get(USERS_VARIABLE, ""), environment.get(AUDIENCE_VARIABLE, "")
        return cls(users, realm if enabled else "", audience, environment.get(OPEN_VARIABLE, "").lower() in YES)

    def variables(self) -> dict[str, str]:
        """Return the environment variables that pass these settings to the processes of a server."""
        values = {USERS_VARIABLE: self.users and str(Path(self.users).expanduser().resolve())}
        values |= {REALM_VARIABLE: self.realm, ENABLE_VARIABLE: "true" if self.realm else ""}
        values |= {AUDIENCE_VARIABLE: self.audience, OPEN_VARIABLE: "true" if self.open else ""}
        return {name: value for name, value in values.items() if value}

    @property
    def requires_sign_in(self) -> bool:
        """Whether users must sign in."""
        return bool(self.users or self.realm)

    def check(self, host: str) -> None:
        """Refuse to serve the network without sign-in, unless `open` is set.

        Args:
            host: Address to listen on.
        Raises:
            BadAccess: If all users on the network would be admin, or the users file is invalid or empty.
        """
        if self.users:
            from lib.server.auth.users import read_users

            if not read_users(Path(self.users)):
                raise BadAccess(f"{self.users} has no users: run `python -m lib users add {self.users} NAME`")
        if not (self.requires_sign_in or self.open or is_loopback(host)):
            raise BadAccess(
                f"{host} is reachable from the network, and every user there would be admin: give --users FILE or "
                "--oidc URL, or --open to allow this"
            )


def is_loopback(host: str) -> bool:
    """Return whether an address or host name can be reached from this machine only."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
