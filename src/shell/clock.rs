//! The one place where a clock is read, and where entropy comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::base::{Rng, Tick};

/// A monotonic clock that begins at [`Tick::ZERO`]; all threads of a server share one beginning.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    epoch: Duration,
}

impl Clock {
    /// A clock that begins now.
    #[expect(clippy::disallowed_methods, reason = "shell owns the clock")]
    pub fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), epoch }
    }

    /// What time it is.
    pub fn now(&self) -> Tick {
        Tick::ZERO + self.began.elapsed()
    }

    /// How long until `due`; zero when it has passed.
    pub fn until(&self, due: Tick) -> Duration {
        due.since(self.now())
    }

    /// Milliseconds since the Unix epoch, now.
    pub fn wall_ms(&self) -> i64 {
        self.epoch_ms().saturating_add_unsigned(self.now().as_millis())
    }

    /// Milliseconds from the Unix epoch to [`Tick::ZERO`].
    pub fn epoch_ms(&self) -> i64 {
        i64::try_from(self.epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Microseconds since the Unix epoch, now, as the system sees it: what the log says.
#[expect(clippy::disallowed_methods, reason = "shell owns the clock")]
pub(super) fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The processor time that this thread has taken, in the kernel and out of it.
pub(super) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// 256 bits of the system's own randomness.
pub(super) fn system_secret() -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let filled = filled.expect("Linux has getrandom since 3.17");
    assert_eq!(filled, bytes.len(), "up to 256 bytes come whole");
    bytes
}

/// A generator seeded by the system.
pub(super) fn system_rng() -> Rng {
    let bytes = system_secret();
    let mut entropy = [0_u64; 4];
    for (word, chunk) in entropy.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
    }
    Rng::from_entropy(entropy)
}
