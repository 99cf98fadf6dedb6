"""Who may use a server: chosen once, by options of `serve` or by the environment."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

USERS_VARIABLE = "TOPOLABEL_USERS"
AUDIENCE_VARIABLE = "TOPOLABEL_OIDC_AUDIENCE"
OPEN_VARIABLE = "TOPOLABEL_OPEN"
ENABLE_VARIABLE = "MONAI_LABEL_AUTH_ENABLE"
REALM_VARIABLE = "MONAI_LABEL_AUTH_REALM_URI"
MONAI_LABELS_REALM = "http://localhost:8080/realms/monailabel"
YES = ("1", "true", "yes", "on")


class BadAccess(ValueError):
    """Raised for a choice that would let in more people than its maker means, with what to do."""


@dataclass(frozen=True)
class Access:
    """The choice: a users file, a provider, or neither.

    Args:
        users: Users file; empty for none.
        realm: Address of an OIDC provider's realm; empty for none.
        audience: What its tokens must be for, if not for MONAI_LABEL_AUTH_CLIENT_ID.
        open: Whether others on the network may come in without signing in.
    """

    users: str = ""
    realm: str = ""
    audience: str = ""
    open: bool = False

    def __post_init__(self) -> None:
        if self.users and self.realm:
            raise BadAccess("give a users file or an OIDC realm, not both")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Access":
        """Return what an environment says; MONAI Label's own variables turn the provider on."""
        enabled = environment.get(ENABLE_VARIABLE, "").lower() in YES
        realm = environment.get(REALM_VARIABLE, "") or MONAI_LABELS_REALM
        users, audience = environment.get(USERS_VARIABLE, ""), environment.get(AUDIENCE_VARIABLE, "")
        return cls(users, realm if enabled else "", audience, environment.get(OPEN_VARIABLE, "").lower() in YES)

    def variables(self) -> dict[str, str]:
        """Return the variables that say this choice to the processes of a server."""
        said = {USERS_VARIABLE: self.users and str(Path(self.users).expanduser().resolve())}
        said |= {REALM_VARIABLE: self.realm, ENABLE_VARIABLE: "true" if self.realm else ""}
        said |= {AUDIENCE_VARIABLE: self.audience, OPEN_VARIABLE: "true" if self.open else ""}
        return {name: value for name, value in said.items() if value}

    @property
    def signs_in(self) -> bool:
        """Whether people sign in."""
        return bool(self.users or self.realm)

    def check(self, host: str) -> None:
        """Refuse to serve the network without knowing who asks.

        Args:
            host: Address to listen on.
        Raises:
            BadAccess: If everybody who reaches that address would be the admin, or the users file will not do.
        """
        if self.users:
            from lib.server.auth.users import read_users

            if not read_users(Path(self.users)):
                raise BadAccess(f"{self.users} has no users: run `python -m lib users add {self.users} NAME`")
        if not (self.signs_in or self.open or is_loopback(host)):
            raise BadAccess(
                f"{host} is reached from the network, and everybody there would be the admin: give --users FILE or "
                "--oidc URL, or --open if that is what you want"
            )


def is_loopback(host: str) -> bool:
    """Say whether an address or name is of this machine only."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
