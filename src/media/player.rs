//! Players of a leg: which sounds it hears, how far they are, and the frame they make together.

use std::sync::Arc;
use std::time::Duration;

use crate::base::push_few;
use crate::media::codec::Encoder;
use crate::media::{Clip, Codec, FRAME, Live, Source, duration_of};

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
    sound: Sound,
    /// What it leaves of everything with lower priority: 0 to 1.
    leaves: f32,
    played: u64,
}

/// What a player plays, and where it is.
#[derive(Debug)]
enum Sound {
    Clip { clip: Arc<Clip>, repeat: bool, position: usize },
    Live { live: Arc<Live>, position: u64 },
}

impl Player {
    /// A player at the beginning of its sound.
    pub(super) fn new(number: u64, source: Source, repeat: bool, ducking: f32) -> Self {
        // Boosting one player by a factor and scaling the mix by its inverse is the same as
        // attenuating the others by the inverse.
        let leaves = if ducking > 1.0 { ducking.recip() } else { ducking.max(0.0) };
        let leaves = if ducking.is_nan() { 1.0 } else { leaves };
        let sound = match source {
            Source::Clip(clip) => Sound::Clip { clip, repeat, position: 0 },
            Source::Tone(tone) => Sound::Clip { clip: tone.period().clone(), repeat, position: 0 },
            Source::Live(live) => Sound::Live { position: live.position(), live },
        };
        Self { number, sound, leaves, played: 0 }
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
        match &self.sound {
            Sound::Clip { clip, repeat, position } => !repeat && *position == clip.samples().len(),
            Sound::Live { live, position } => live.is_done(*position),
        }
    }

    /// Advances over one frame, unheard.
    fn skip(&mut self) {
        match &mut self.sound {
            Sound::Clip { clip, repeat, position } => {
                self.played += advance(clip, *repeat, position);
            }
            Sound::Live { live, position } => {
                (_, *position) = live.read(*position);
                self.played += FRAME as u64;
            }
        }
    }

    /// Adds its next frame to a sum, and advances over it.
    fn add_to(&mut self, sum: &mut [f32; FRAME], gain: f32) {
        match &mut self.sound {
            Sound::Clip { clip, repeat, position } => {
                let sound = clip.samples();
                match sound.get(*position..*position + FRAME) {
                    Some(ready) => add(sum, ready.iter(), gain),
                    None => add(sum, pieces(sound, *repeat, *position), gain),
                }
                self.played += advance(clip, *repeat, position);
            }
            Sound::Live { live, position } => {
                let (frame, next) = live.read(*position);
                *position = next;
                self.played += FRAME as u64;
                add(sum, frame.iter(), gain);
            }
        }
    }
}

/// Advances over one frame of a clip; gives how much of it is sound.
fn advance(clip: &Clip, repeat: bool, position: &mut usize) -> u64 {
    let (before, length) = (*position, clip.samples().len());
    let end = before + FRAME;
    *position = if repeat { end % length } else { end.min(length) };
    if repeat { FRAME as u64 } else { (*position - before) as u64 }
}

/// The pieces of sound that make up the frame at a position: one, or several around the end of a
/// clip that repeats. A short last frame is left short.
fn pieces<T>(sound: &[T], repeat: bool, position: usize) -> impl Iterator<Item = &T> {
    let again = if repeat { usize::MAX } else { 0 };
    let repeated = std::iter::repeat_n(sound, again).flatten();
    sound[position..].iter().chain(repeated).take(FRAME)
}

impl Players {
    /// Adds a player; false when there are too many.
    pub(super) fn start(&mut self, player: Player) -> bool {
        let fits = self.list.len() < PLAYERS_MAX;
        if fits {
            push_few(&mut self.list, player);
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
            player.skip();
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
    let Sound::Clip { clip, repeat, position } = &mut player.sound else { return false };
    let Some(sound) = clip.encoded(codec) else { return false };
    if let Some(ready) = sound.get(*position..*position + FRAME) {
        payload.copy_from_slice(ready);
    } else if *repeat {
        for (byte, ready) in payload.iter_mut().zip(pieces(sound, true, *position)) {
            *byte = *ready;
        }
    } else {
        return false;
    }
    player.played += advance(clip, *repeat, position);
    true
}

fn mix(players: &mut [Player], peer: Option<&[i16; FRAME]>) -> [i16; FRAME] {
    let mut sum = [0.0; FRAME];
    let mut gain = 1.0;
    for player in players.iter_mut().rev() {
        player.add_to(&mut sum, gain);
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

    fn constant(value: i16, samples: usize) -> Source {
        Source::Clip(Arc::new(Clip::from_samples(vec![value; samples]).unwrap()))
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
        players.start(Player::new(1, Source::Clip(clip.clone()), true, 1.0));
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
    #[test]
    fn a_stream_is_mixed_like_any_other_sound_and_ends_when_it_is_over() {
        let live = Arc::new(Live::new());
        live.push(&[3000; FRAME]);
        let mut players = Players::default();
        players.start(Player::new(1, Source::Live(live.clone()), false, 1.0));
        check(&mut players, Some(1000), 4000, "with the peer");
        check(&mut players, None, 0, "nothing has come");
        assert!(players.take_done().is_none());
        live.push(&[2000; FRAME]);
        live.end();
        check(&mut players, None, 2000, "the rest");
        assert_eq!(players.take_done().unwrap().played(), Duration::from_millis(60));
    }
}
