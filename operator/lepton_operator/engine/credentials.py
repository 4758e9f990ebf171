"""Where the API server is and how to log in there, from the pod's service account or a kubeconfig.

Reading configuration, exec plugins and OIDC are left to `kubernetes.aio`; this module only decides
when to read again. Projected service account tokens are valid for an hour or less and are replaced
on disk (KEP-1205), exec plugins say when their token ends; so the header is asked for at every
request and credentials are read again every minute, and at once after a 401.
"""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
"""Period of reading again; the period of client-go's file token source, too."""
FORCED_REFRESH_SECONDS = 5.0
"""Refused requests make the credentials be read again at most this often."""

Read = Callable[[], Awaitable[Any]]


class Credentials:
    """Address, TLS settings and the current Authorization header.

    `read` returns a `kubernetes.aio.client.Configuration`. `expires` is false for what never
    changes, such as a token that stands in a kubeconfig.
    """

    def __init__(
        self,
        read: Read,
        configuration: Any,
        *,
        expires: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host: str = configuration.host.rstrip("/")
        self.server_name: str | None = configuration.tls_server_name
        self.proxy: str | None = configuration.proxy
        self.ssl = _ssl_context(configuration) if self.host.startswith("https") else None
        self._read = read
        self._expires = expires
        self._clock = clock
        self._header = _header(configuration)
        self._tls_files = _tls_files(configuration)
        self._read_at = clock()
        self._lock = asyncio.Lock()

    async def authorization(self) -> str | None:
        """The value of the Authorization header, or None when TLS alone identifies us."""
        if self._expires and self._clock() - self._read_at >= REFRESH_SECONDS:
            await self._refresh(REFRESH_SECONDS)
        return self._header

    async def refused(self, header: str | None) -> bool:
        """After a 401 for `header`: read again. True if there is another header to try with."""
        if header == self._header:
            await self._refresh(FORCED_REFRESH_SECONDS)
        return header != self._header

    async def _refresh(self, at_most_every: float) -> None:
        """Read again, once for all that wait; what was read last stays valid if that fails."""
        async with self._lock:
            if self._clock() - self._read_at < at_most_every:
                return
            self._read_at = self._clock()
            try:
                configuration = await self._read()
                self._header = _header(configuration)
                files = _tls_files(configuration)
                if self.ssl is not None and files != self._tls_files:
                    _load_files(self.ssl, configuration)
                    self._tls_files = files
            except Exception as error:
                # The text of an error of a plugin may hold what it printed: only its type is told.
                log.warning("credentials can't be read again, using old: %s", type(error).__name__)


async def load(context: str | None = None, kubeconfig: str | None = None) -> Credentials:
    """Credentials of the pod, or else of a kubeconfig.

    With `context` or `kubeconfig` given, the pod's are not tried. Without `kubeconfig`, it is
    $KUBECONFIG (which may name several files) or ~/.kube/config.
    Raises kubernetes.aio.config.ConfigException when neither is there or they are malformed.
    """
    # Imported here since it takes 1.8 s and 25 MB, which those who give an address needn't pay.
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

    async def of_pod() -> Any:
        configuration = Configuration()
        load_incluster_config(  # type: ignore[no-untyped-call]
            client_configuration=configuration, try_refresh_token=False
        )
        return configuration

    if context is None and kubeconfig is None:
        try:
            return Credentials(of_pod, await of_pod(), expires=True)
        except ConfigException:
            log.debug("not in a pod, reading kubeconfig")
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not _some_exist(path):
        raise ConfigException(
            f"no way to reach Kubernetes: not in a pod, and there is no kubeconfig at {path}"
        )

    async def read(configuration: Any) -> Any:
        return await load_kube_config(  # type: ignore[no-untyped-call]
            path, context=context, client_configuration=configuration, persist_config=False
        )

    async def of_file() -> Any:
        configuration = Configuration()
        await read(configuration)
        return configuration

    configuration = Configuration()
    loader = await read(configuration)
    user = getattr(loader, "_user", None)
    expires = user is not None and any(k in user for k in ("exec", "auth-provider", "tokenFile"))
    return Credentials(of_file, configuration, expires=expires)


def _some_exist(path: str) -> bool:
    return any(os.path.exists(os.path.expanduser(p)) for p in path.split(os.pathsep) if p)


def _header(configuration: Any) -> str | None:
    header = configuration.api_key.get("BearerToken")
    return str(header).strip() if header else None


def _ssl_context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Many clusters' certificates lack extensions that Python 3.13 insists on; Go does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_files(context: ssl.SSLContext, configuration: Any) -> None:
    """New connections of a context use what was loaded last; open ones stay as they are."""
    if configuration.ssl_ca_cert:
        context.load_verify_locations(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)


def _tls_files(configuration: Any) -> tuple[tuple[str, int], ...]:
    """Names and times of change of the files that TLS was set up with."""
    names = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    return tuple((str(n), os.stat(n).st_mtime_ns) for n in names if n)
