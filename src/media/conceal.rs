//! What is heard in place of sound that did not come: the last period of the voice, said again and
//! fading, as Appendix I of ITU-T G.711 does it; after [`FADE`] nothing.

use crate::media::CLOCK_RATE;

/// Samples remembered of what was last heard: 40 ms, three periods of a deep voice.
const HISTORY: usize = 320;

/// Shortest and longest period looked for: 200 Hz to 66 Hz.
const PERIOD_MIN: usize = 40;
const PERIOD_MAX: usize = 120;

/// Samples compared when a period is looked for.
const COMPARED: usize = 160;

/// How long the first repetition keeps its loudness: 10 ms.
const FULL: u32 = CLOCK_RATE / 100;

/// After this long nothing is left: 60 ms.
pub(super) const FADE: u32 = CLOCK_RATE / 1000 * 60;

/// Samples over which what comes again takes over: 4 ms.
const JOINT: u32 = CLOCK_RATE / 250;

/// Repeats what was heard last.
#[derive(Debug)]
pub(super) struct Conceal {
    /// The last samples heard or invented, oldest first.
    history: [i16; HISTORY],
    gap: Option<Gap>,
}

/// A gap that is being filled, or has just ended.
#[derive(Clone, Copy, Debug)]
struct Gap {
    period: usize,
    /// Samples invented since it began.
    length: u32,
    /// Samples heard since it ended.
    since: u32,
}

impl Conceal {
    /// Nothing heard.
    pub(super) const fn new() -> Self {
        Self { history: [0; HISTORY], gap: None }
    }

    /// What was heard last, newest last.
    pub(super) const fn history(&self) -> &[i16; HISTORY] {
        &self.history
    }

    /// Hears samples that came; the first after a gap are blended with what fills it.
    pub(super) fn hear(&mut self, samples: &mut [i16]) {
        for (place, sample) in samples.iter_mut().enumerate() {
            let Some(gap) = &mut self.gap else {
                self.remember(&samples[place..]);
                return;
            };
            gap.since += 1;
            let (since, is_over) = (gap.since, gap.since >= JOINT);
            let invented = i32::from(self.invented());
            let (heard, joint) = (i32::from(*sample), JOINT as i32);
            let since = since.min(JOINT) as i32;
            *sample = ((heard * since + invented * (joint - since)) / joint) as i16;
            if is_over {
                self.gap = None;
            } else if let Some(gap) = &mut self.gap {
                gap.length += 1;
            }
            self.remember(&[*sample]);
        }
    }

    /// Fills samples that did not come; false when nothing is left to say.
    pub(super) fn fill(&mut self, samples: &mut [i16]) -> bool {
        let mut is_audible = false;
        for sample in samples {
            let gap = match self.gap {
                Some(gap) if gap.since == 0 => gap,
                Some(gap) => Gap { since: 0, ..gap },
                None => Gap { period: self.period(), length: 0, since: 0 },
            };
            self.gap = Some(gap);
            *sample = self.invented();
            is_audible |= gap.length < FADE;
            self.gap = Some(Gap { length: gap.length.saturating_add(1), ..gap });
            self.remember(&[*sample]);
        }
        is_audible
    }

    /// The next sample of the repetition. The history holds what was invented with its fading, so
    /// the loudness is that of the sample one period ago, less what it lost since then.
    fn invented(&self) -> i16 {
        let Some(gap) = self.gap else { return 0 };
        let before = i32::from(self.history[HISTORY - gap.period]);
        let loudness = |length: u32| {
            let left = FADE.saturating_sub(length.max(FULL));
            left as i32 * 256 / (FADE - FULL) as i32
        };
        let (now, then) =
            (loudness(gap.length), loudness(gap.length.saturating_sub(gap.period as u32)));
        (before * now / then.max(1)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    }

    /// The distance at which the history is most like itself.
    fn period(&self) -> usize {
        let newest = &self.history[HISTORY - COMPARED..];
        let likeness = |period: usize| {
            let earlier = &self.history[HISTORY - COMPARED - period..HISTORY - period];
            likeness(newest, earlier)
        };
        let periods = (PERIOD_MIN..=PERIOD_MAX).map(|period| (period, likeness(period)));
        let best = periods.max_by(|a, b| a.1.total_cmp(&b.1));
        best.map_or(PERIOD_MAX, |(period, _)| period)
    }

    fn remember(&mut self, samples: &[i16]) {
        let newest = &samples[samples.len().saturating_sub(HISTORY)..];
        self.history.copy_within(newest.len().., 0);
        self.history[HISTORY - newest.len()..].copy_from_slice(newest);
    }
}

/// How alike two pieces of sound are: 1 for the same, 0 for silence or strangers.
pub(super) fn likeness(a: &[i16], b: &[i16]) -> f32 {
    let (mut both, mut first, mut second) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        both += a * b;
        first += a * a;
        second += b * b;
    }
    both / (first * second).sqrt()
}
