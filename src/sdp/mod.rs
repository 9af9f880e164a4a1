//! SDP: offer and answer as values (RFC 4566, RFC 3264); no SIP, no sockets.
