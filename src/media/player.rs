//! Players of a leg: which clips it hears, how far they are, and the frame they make together.

use std::sync::Arc;
use std::time::Duration;

use crate::media::codec::Encoder;
use crate::media::{Clip, Codec, FRAME, duration_of};

/// Players that a leg may have at once.
pub const PLAYERS_MAX: usize = 8;

/// Everything that plays on one leg, oldest first; a later player has higher priority.
#[derive(Debug, Default)]
pub(super) struct Players {
    list: Vec<Player>,
}

/// One playback.
#[derive(Debug)]
pub(super) struct Player {
    number: u64,
    clip: Arc<Clip>,
    repeat: bool,
    /// What it leaves of everything with lower priority: 0 to 1.
    leaves: f32,
    position: usize,
    played: u64,
}

impl Player {
    /// A player at the beginning of its clip.
    pub(super) fn new(number: u64, clip: Arc<Clip>, repeat: bool, ducking: f32) -> Self {
        // Boosting one player by a factor and scaling the mix by its inverse is the same as
        // attenuating the others by the inverse.
        let leaves = if ducking > 1.0 { ducking.recip() } else { ducking.max(0.0) };
        let leaves = if ducking.is_nan() { 1.0 } else { leaves };
        Self { number, clip, repeat, leaves, position: 0, played: 0 }
    }

    /// The caller's number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// How much was played.
    pub(super) const fn played(&self) -> Duration {
        duration_of(self.played)
    }

    fn is_done(&self) -> bool {
        !self.repeat && self.position == self.clip.samples().len()
    }

    /// Advances over one frame, which begins at the position returned.
    fn advance(&mut self) -> usize {
        let (position, length) = (self.position, self.clip.samples().len());
        let end = position + FRAME;
        self.position = if self.repeat { end % length } else { end.min(length) };
        self.played += if self.repeat { FRAME } else { self.position - position } as u64;
        position
    }

    /// The pieces of sound that make up the frame at a position: one, or several around the end of
    /// a clip that repeats. A short last frame is left short.
    fn pieces<'a, T>(&self, sound: &'a [T], position: usize) -> impl Iterator<Item = &'a T> {
        let again = if self.repeat { usize::MAX } else { 0 };
        let repeated = std::iter::repeat_n(sound, again).flatten();
        sound[position..].iter().chain(repeated).take(FRAME)
    }
}

impl Players {
    /// Adds a player; false when there are too many.
    pub(super) fn start(&mut self, player: Player) -> bool {
        let fits = self.list.len() < PLAYERS_MAX;
        if fits {
            self.list.push(player);
        }
        fits
    }

    /// Takes a player out by the caller's number.
    pub(super) fn stop(&mut self, number: u64) -> Option<Player> {
        let index = self.list.iter().position(|player| player.number == number)?;
        Some(self.list.remove(index))
    }

    /// Takes any player out, the oldest first.
    pub(super) fn stop_one(&mut self) -> Option<Player> {
        (!self.list.is_empty()).then(|| self.list.remove(0))
    }

    /// Takes out a player that came to its end.
    pub(super) fn take_done(&mut self) -> Option<Player> {
        let index = self.list.iter().position(Player::is_done)?;
        Some(self.list.remove(index))
    }

    /// Whether nothing plays.
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many play.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Lets a frame's time pass unheard.
    pub(super) fn skip(&mut self) {
        for player in &mut self.list {
            player.advance();
        }
    }

    /// Makes the next frame. A single player sends what its clip has ready; several are mixed in
    /// linear, and with `peer`, the frame of the bridged leg, which has the lowest priority. The
    /// linear frame is given back where there is one, and always when it `is_wanted`.
    pub(super) fn frame(
        &mut self,
        encoder: &mut Encoder,
        peer: Option<&[i16; FRAME]>,
        is_wanted: bool,
        payload: &mut [u8],
    ) -> Option<[i16; FRAME]> {
        if let ([player], None, false) = (self.list.as_mut_slice(), peer, is_wanted)
            && copy(player, encoder.codec(), payload)
        {
            return None;
        }
        let linear = mix(&mut self.list, peer);
        encoder.encode(&linear, payload);
        Some(linear)
    }
}

/// Copies a frame that was encoded when the clip was made; false where there is none, as at the
/// end.
fn copy(player: &mut Player, codec: Codec, payload: &mut [u8]) -> bool {
    let Some(sound) = player.clip.encoded(codec) else { return false };
    let position = player.position;
    if let Some(ready) = sound.get(position..position + FRAME) {
        payload.copy_from_slice(ready);
    } else if player.repeat {
        for (byte, ready) in payload.iter_mut().zip(player.pieces(sound, position)) {
            *byte = *ready;
        }
    } else {
        return false;
    }
    player.advance();
    true
}

fn mix(players: &mut [Player], peer: Option<&[i16; FRAME]>) -> [i16; FRAME] {
    let mut sum = [0.0; FRAME];
    let mut gain = 1.0;
    for player in players.iter_mut().rev() {
        let position = player.advance();
        let sound = player.clip.samples();
        match sound.get(position..position + FRAME) {
            Some(ready) => add(&mut sum, ready.iter(), gain),
            None => add(&mut sum, player.pieces(sound, position), gain),
        }
        gain *= player.leaves;
    }
    if let Some(peer) = peer {
        add(&mut sum, peer.iter(), gain);
    }
    // A sum beyond full scale saturates in the cast.
    sum.map(|sample| sample as i16)
}

fn add<'a>(sum: &mut [f32; FRAME], samples: impl Iterator<Item = &'a i16>, gain: f32) {
    for (target, sample) in sum.iter_mut().zip(samples) {
        *target += gain * f32::from(*sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(value: i16, samples: usize) -> Arc<Clip> {
        Arc::new(Clip::from_samples(vec![value; samples]).unwrap())
    }

    /// Whether the next frame holds this value, as exactly as G.711 can say it.
    fn check(players: &mut Players, peer: Option<i16>, expected: i16, what: &str) {
        let peer = peer.map(|value| [value; FRAME]);
        let (mut payload, mut samples) = ([0; FRAME], [0; FRAME]);
        players.frame(&mut Encoder::new(Codec::Pcmu), peer.as_ref(), false, &mut payload);
        Codec::Pcmu.decode(&payload, &mut samples);
        let error = samples[0].abs_diff(expected);
        assert!(error <= expected as u16 / 30, "{what}: {} is not {expected}", samples[0]);
    }

    fn play(players: &mut Players, value: i16, ducking: f32) {
        let number = players.len() as u64;
        assert!(players.start(Player::new(number, constant(value, 16_000), false, ducking)));
    }

    #[test]
    fn a_later_player_ducks_the_earlier_ones_and_the_peer() {
        let mut players = Players::default();
        play(&mut players, 2000, 1.0);
        check(&mut players, None, 2000, "alone");
        check(&mut players, Some(1000), 3000, "with the peer");
        play(&mut players, 4000, 0.5);
        check(&mut players, None, 5000, "4000 and half of 2000");
        check(&mut players, Some(4000), 7000, "and half of the peer");
        play(&mut players, 1000, 4.0);
        check(&mut players, None, 2250, "boosted: the others are a quarter");
    }

    #[test]
    fn loud_sounds_saturate_and_odd_duckings_do_no_harm() {
        for ducking in [f32::NAN, f32::INFINITY, -1.0, 0.0, 1.0] {
            let mut players = Players::default();
            play(&mut players, 30_000, 1.0);
            play(&mut players, 31_900, ducking);
            check(&mut players, None, 32_000, "saturated");
        }
    }

    #[test]
    fn a_clip_that_repeats_has_no_seam_and_counts_every_round() {
        let clip = Arc::new(Clip::from_samples((0..100).collect::<Vec<i16>>()).unwrap());
        let mut players = Players::default();
        players.start(Player::new(1, clip.clone(), true, 1.0));
        let mut payload = [0; FRAME];
        for _ in 0..3 {
            players.frame(&mut Encoder::new(Codec::Pcma), None, false, &mut payload);
        }
        let expected = clip.encoded(Codec::Pcma).unwrap();
        assert!((0..FRAME).all(|n| payload[n] == expected[(320 + n) % 100]));
        assert!(players.take_done().is_none());
        assert_eq!(players.stop(1).unwrap().played(), Duration::from_millis(60));
    }

    #[test]
    fn a_short_last_frame_is_filled_with_silence() {
        let mut players = Players::default();
        players.start(Player::new(1, constant(1000, 200), false, 1.0));
        let mut payload = [0; FRAME];
        players.frame(&mut Encoder::new(Codec::Pcmu), None, false, &mut payload);
        assert!(players.take_done().is_none());
        players.frame(&mut Encoder::new(Codec::Pcmu), None, false, &mut payload);
        assert_eq!((payload[39], payload[40]), (0xCE, 0xFF));
        assert_eq!(players.take_done().unwrap().played(), Duration::from_millis(25));
    }
}
