//! Addresses and numbers as text: messages are full of them, and of the time that the standard library
//! takes for an IPv4 address four fifths go into widths and padding.

use std::fmt;
use std::net::IpAddr;

/// An address that displays itself as [`IpAddr`] does, but for widths, which it ignores.
#[derive(Clone, Copy, Debug)]
pub struct Dotted(pub IpAddr);

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IpAddr::V4(address) = self.0 else { return write!(f, "{}", self.0) };
        let (mut text, mut end) = ([b'.'; "255.255.255.255".len()], 0);
        for (place, octet) in address.octets().into_iter().enumerate() {
            end += usize::from(place > 0);
            for (unit, digit) in [(100, octet / 100), (10, octet / 10 % 10), (1, octet % 10)] {
                if octet >= unit || unit == 1 {
                    text[end] = b'0' + digit;
                    end += 1;
                }
            }
        }
        f.write_str(std::str::from_utf8(&text[..end]).map_err(|_| fmt::Error)?)
    }
}

/// A number as 16 hexadecimal digits, in lower case and ASCII.
pub fn hexadecimal(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| b"0123456789abcdef"[(number >> (60 - 4 * place)) as usize & 0xF])
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::base::Rng;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            // Numbers of one, two and three digits.
            let octets = [0; 4].map(|_: u8| (rng.next_u32() & 0xff) as u8 >> (rng.next_u32() % 8));
            let address = Ipv4Addr::from(octets);
            assert_eq!(Dotted(address.into()).to_string(), address.to_string());
        }
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(Dotted(six).to_string(), "2001:db8::1");
    }

    #[test]
    fn a_number_has_sixteen_digits() {
        for number in [0, 0x12, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hexadecimal(number), *format!("{number:016x}").as_bytes());
        }
    }
}
