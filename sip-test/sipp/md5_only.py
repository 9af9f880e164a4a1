"""Relays SIP over UDP to the server and leaves out challenges that SIPp does not know.

SIPp 3.6 reads the first challenge only and knows MD5 only; the server offers SHA-256 first (RFC 8760 section 2.4).
usage: md5_only.py LISTEN-PORT SERVER-PORT
"""
import re, selectors, socket, sys

listen, server = (("127.0.0.1", int(port)) for port in sys.argv[1:3])
challenge = re.compile(rb"WWW-Authenticate:[^\r\n]*SHA-256[^\r\n]*\r\n", re.IGNORECASE)
front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
front.bind(listen)
ready = selectors.DefaultSelector()
ready.register(front, selectors.EVENT_READ, None)
backs = {}  # by client: each keeps an address of its own before the server
while True:
    for key, _ in ready.select():
        data, source = key.fileobj.recvfrom(65535)
        if key.data:
            front.sendto(challenge.sub(b"", data), key.data)
            continue
        if source not in backs:
            backs[source] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            backs[source].bind(("127.0.0.1", 0))
            ready.register(backs[source], selectors.EVENT_READ, source)
        backs[source].sendto(data, server)
