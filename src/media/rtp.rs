//! RTP headers (RFC 3550 §5.1): read by rtp-rs, which checks every length, and written here.

use rtp_rs::RtpReader;

/// Bytes of the header that we write: no CSRC, no extension, no padding.
pub(super) const HEADER: usize = 12;

/// The largest payload that is relayed: 120 ms of G.711.
pub(super) const PAYLOAD_MAX: usize = 960;

/// The fixed part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
}

impl Header {
    /// Writes the header over the first twelve bytes of a packet.
    pub(super) fn write(&self, packet: &mut [u8]) {
        packet[0] = 2 << 6;
        packet[1] = u8::from(self.marker) << 7 | self.payload_type;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..HEADER].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Header and payload, without CSRCs, extension and padding; `None` when the packet is not RTP or
/// promises more than it has.
pub(super) fn parse(packet: &[u8]) -> Option<(Header, &[u8])> {
    let reader = RtpReader::new(packet).ok()?;
    let header = Header {
        marker: reader.mark(),
        payload_type: reader.payload_type(),
        sequence: reader.sequence_number().into(),
        timestamp: reader.timestamp(),
        ssrc: reader.ssrc(),
    };
    Some((header, reader.payload()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_promises_more_than_it_has_is_refused() {
        let packet = |first: u8, rest: &[u8]| [&[first, 0], [0; 10].as_slice(), rest].concat();
        assert!(parse(&packet(0x80, &[])).is_some(), "an empty payload is legal");
        let refused = [
            ("short", packet(0x80, &[])[..11].to_vec()),
            ("version 1", packet(0x40, &[1])),
            ("a CSRC is missing", packet(0x82, &[0; 7])),
            ("the extension header is cut", packet(0x90, &[0; 3])),
            ("the extension is cut", packet(0x90, &[0, 0, 0, 2, 1, 1, 1, 1])),
            ("no byte for the padding", packet(0xA0, &[])),
            ("no padding in spite of the flag", packet(0xA0, &[7, 0])),
            ("more padding than payload", packet(0xA0, &[7, 3])),
        ];
        for (why, bytes) in refused {
            assert_eq!(parse(&bytes), None, "{why}");
        }
        let extended = packet(0xB1, &[9, 9, 9, 9, 0, 0, 0, 1, 5, 5, 5, 5, 42, 0, 2]);
        assert_eq!(parse(&extended).map(|(_, payload)| payload), Some([42].as_slice()));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some((_, payload)) = parse(&bytes) {
                prop_assert!(payload.len() + HEADER <= bytes.len());
            }
        }

        #[test]
        fn what_is_written_reads_alike(
            (marker, payload_type, sequence) in (any::<bool>(), 0..128_u8, any::<u16>()),
            (timestamp, ssrc, payload) in (any::<u32>(), any::<u32>(), any::<[u8; 4]>()),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let mut packet = [0; HEADER + 4];
            header.write(&mut packet);
            packet[HEADER..].copy_from_slice(&payload);
            prop_assert_eq!(parse(&packet), Some((header, payload.as_slice())));
        }
    }
}
