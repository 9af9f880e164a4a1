//! RTCP packets (RFC 3550 §6): sender and receiver reports with a CNAME, read and written.

use crate::base::hexadecimal;

/// One report block (RFC 3550 §6.4.1): what one side says of the other's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Whose packets.
    pub(super) ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub(super) fraction: u8,
    /// Lost since the beginning; 24 bits on the wire.
    pub(super) lost: i32,
    /// Highest sequence number, with the cycles above it.
    pub(super) highest: u32,
    /// Jitter in units of the timestamp.
    pub(super) jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0 when there was none.
    pub(super) last_report: u32,
    /// Since that report arrived, in 65536ths of a second.
    pub(super) delay: u32,
}

/// The sender's part of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    /// 32.32 seconds; of any clock, as long as it is the same in every report (§4).
    pub(super) ntp: u64,
    /// The same instant on the RTP time line.
    pub(super) timestamp: u32,
    /// Packets sent.
    pub(super) packets: u32,
    /// Payload bytes sent.
    pub(super) octets: u32,
}

/// What a compound packet told us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Middle 32 bits of the NTP time of a sender report.
    pub(super) sender_report: Option<u32>,
    /// The block about our own packets.
    pub(super) block: Option<Block>,
}

const VERSION: u8 = 2 << 6;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const CNAME: u8 = 1;
const SENDER_SIZE: usize = 20;
const BLOCK_SIZE: usize = 24;

/// Whether a packet on the RTP port is RTCP: its type lies where no RTP payload type with or
/// without marker does (RFC 5761 §4).
pub(super) fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// Reads a compound packet, also one of reduced size (RFC 5506); `None` when anything in it is cut
/// or contradicts itself. Blocks about others than `ours` are passed over.
pub(super) fn parse(packet: &[u8], ours: u32) -> Option<Heard> {
    let mut heard = Heard::default();
    let mut rest = packet;
    while !rest.is_empty() {
        let (kind, count, body, after) = split(rest)?;
        let body = match kind {
            SENDER_REPORT => {
                let sender = body.get(4..4 + SENDER_SIZE)?;
                heard.sender_report = Some(word(sender, 2)?);
                &body[4 + SENDER_SIZE..]
            }
            RECEIVER_REPORT => body.get(4..)?,
            _ => &[],
        };
        if matches!(kind, SENDER_REPORT | RECEIVER_REPORT) {
            let blocks = body.get(..count * BLOCK_SIZE)?.chunks_exact(BLOCK_SIZE);
            heard.block = blocks.filter_map(Block::parse).find(|b| b.ssrc == ours).or(heard.block);
        }
        rest = after;
    }
    (!packet.is_empty()).then_some(heard)
}

/// Type, count, body without header and padding, and the packets that follow.
fn split(packet: &[u8]) -> Option<(u8, usize, &[u8], &[u8])> {
    let (head, rest) = packet.split_first_chunk::<4>()?;
    let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if head[0] & 0xC0 != VERSION || !(192..=223).contains(&head[1]) || rest.len() < words * 4 {
        return None;
    }
    let (mut body, after) = rest.split_at(words * 4);
    if head[0] & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        let length = body.len().checked_sub(padding).filter(|_| padding > 0)?;
        body = &body[..length];
    }
    Some((head[1], usize::from(head[0] & 0x1F), body, after))
}

/// The 32-bit word at a place counted in bytes.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_be_bytes)
}

impl Block {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let loss = word(bytes, 4)?;
        Some(Self {
            ssrc: word(bytes, 0)?,
            fraction: (loss >> 24) as u8,
            // Shifted up and down again, so that the sign of 24 bits becomes that of 32.
            lost: (loss << 8) as i32 >> 8,
            highest: word(bytes, 8)?,
            jitter: word(bytes, 12)?,
            last_report: word(bytes, 16)?,
            delay: word(bytes, 20)?,
        })
    }

    fn words(&self) -> [u32; 6] {
        let loss = u32::from(self.fraction) << 24 | (self.lost as u32 & 0xFF_FFFF);
        [self.ssrc, loss, self.highest, self.jitter, self.last_report, self.delay]
    }
}

/// A compound packet being written; large enough for one sender report, one block and a CNAME.
#[derive(Debug)]
pub(super) struct Compound {
    bytes: [u8; 80],
    length: usize,
}

impl Compound {
    /// A sender report, or without `sender` a receiver report; then the CNAME, which every
    /// compound packet must carry (§6.1): 64 random bits as text (RFC 7022 §4.2).
    pub(super) fn new(ssrc: u32, sender: Option<Sender>, block: Option<Block>, cname: u64) -> Self {
        let mut compound = Self { bytes: [0; 80], length: 0 };
        let kind = if sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        let size =
            usize::from(sender.is_some()) * SENDER_SIZE + usize::from(block.is_some()) * BLOCK_SIZE;
        compound.head(u8::from(block.is_some()), kind, 4 + size);
        compound.words(&[ssrc]);
        if let Some(sender) = sender {
            let (high, low) = ((sender.ntp >> 32) as u32, sender.ntp as u32);
            compound.words(&[high, low, sender.timestamp, sender.packets, sender.octets]);
        }
        if let Some(block) = block {
            compound.words(&block.words());
        }
        // SSRC, item type and length, sixteen characters, and the end padded to a word.
        compound.head(1, SOURCE_DESCRIPTION, 4 + 2 + 16 + 2);
        compound.words(&[ssrc]);
        compound.push(&[CNAME, 16]);
        compound.push(&hexadecimal(cname));
        compound.push(&[0, 0]);
        compound
    }

    /// The packet.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn head(&mut self, count: u8, kind: u8, body: usize) {
        let [high, low] = ((body / 4) as u16).to_be_bytes();
        self.push(&[VERSION | count, kind, high, low]);
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.push(&word.to_be_bytes());
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SENDER: Sender =
        Sender { ntp: 0x1111_2222_3333_4444, timestamp: 5, packets: 6, octets: 7 };
    const BLOCK: Block = Block {
        ssrc: 9,
        fraction: 10,
        lost: -11,
        highest: 12,
        jitter: 13,
        last_report: 14,
        delay: 15,
    };

    #[test]
    fn what_is_written_reads_alike() {
        let both = Compound::new(1, Some(SENDER), Some(BLOCK), 0xAB);
        let heard = Heard { sender_report: Some(0x2222_3333), block: Some(BLOCK) };
        assert_eq!((both.as_bytes().len(), parse(both.as_bytes(), 9)), (80, Some(heard)));
        assert_eq!(parse(both.as_bytes(), 8).map(|heard| heard.block), Some(None));
        assert_eq!(&both.as_bytes()[62..78], b"00000000000000ab");

        let neither = Compound::new(1, None, None, 0);
        assert_eq!(parse(neither.as_bytes(), 9), Some(Heard::default()));
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = Compound::new(1, Some(SENDER), Some(BLOCK), 0);
        for length in 0..80 {
            // Between the report and the CNAME the packet is of reduced size, and whole.
            let expected = length == 52;
            assert_eq!(parse(&whole.as_bytes()[..length], 9).is_some(), expected, "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            parse(&bytes, 0);
        }

        #[test]
        fn no_damage_panics(at in 0..80_usize, byte: u8) {
            let mut bytes = Compound::new(1, Some(SENDER), Some(BLOCK), 0).as_bytes().to_vec();
            bytes[at] = byte;
            parse(&bytes, 9);
        }
    }
}
