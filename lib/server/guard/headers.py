"""Security headers of answers: what pages may load, and which pages may embed them."""

_BASE = "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
POLICY = f"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; {_BASE}"
# OHIF runs its WebAssembly codecs in workers made from blobs, and its index page has inline scripts.
OHIF_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    f"connect-src 'self' data: blob:; {_BASE}"
)
# FastAPI's API pages and MONAI Label's log page load their scripts from these hosts.
DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    f"font-src https://fonts.gstatic.com; img-src 'self' data: https://fastapi.tiangolo.com; {_BASE}"
)
LOGS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' https://ajax.googleapis.com https://cdnjs.cloudflare.com; "
    f"style-src 'self' 'unsafe-inline'; img-src 'self' data:; {_BASE}"
)
_EXACT = {"/": DOCS_POLICY, "/docs": DOCS_POLICY, "/logs/": LOGS_POLICY}
_BELOW = {"/ohif": OHIF_POLICY, "/static/ohif": OHIF_POLICY}
FOR_ALL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def headers_for(path: str) -> dict[str, str]:
    """Return the security headers for an address; a page that sets its own headers keeps them."""
    below = next((policy for start, policy in _BELOW.items() if path == start or path.startswith(f"{start}/")), POLICY)
    return FOR_ALL | {"Content-Security-Policy": _EXACT.get(path, below)}
