//! What we hear of legs ourselves: recordings, digits in the sound, voices; and every codec.

use super::*;

/// The hums that are clear in some sound.
fn hums(sound: &[i16]) -> Vec<u32> {
    let is_heard = |hum: &u32| ear::power(sound, *hum as f32) > 1e6;
    [400, 500, 600, 700].into_iter().filter(is_heard).collect()
}

impl World {
    fn record(&mut self, leg: LegId, recorder: u64, what: Recorded, seconds: u64) {
        let duration_max = Duration::from_secs(seconds);
        self.tell(SERVER, Command::Record { leg, recorder, what, duration_max });
    }

    /// A channel of a recording, from and to these milliseconds after its beginning.
    fn recorded(&self, recorder: u64, channel: usize, from: usize, to: usize) -> &[i16] {
        &self.sent.recorded[&recorder][channel][from * 8..to * 8]
    }
}

#[test]
fn every_codec_is_played_bridged_and_heard_under_music() {
    for one in Codec::ALL {
        for other in Codec::ALL {
            let mut world = World::new(&[(ANN, one), (BOB, other)]);
            world.hum(ANN, 400);
            world.hum(BOB, 500);
            let music = Source::Tone(Tone::parse("700/1000").unwrap());
            world.play(SERVER, ANN, 1, music.clone(), true);
            world.run(400);
            world.tell(SERVER, Command::StopAll { leg: ANN });
            world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
            world.run(800);
            world.play(SERVER, ANN, 2, music, true);
            world.run(1300);
            let what = format!("{one:?} and {other:?}");
            assert_eq!(world.hears(ANN, 100, 400), [700], "{what}: music");
            assert_eq!(world.hears(ANN, 500, 800), [500], "{what}: the bridge");
            assert_eq!(world.hears(BOB, 500, 1300), [400], "{what}: the other side of it");
            assert_eq!(world.hears(ANN, 950, 1300), [500, 700], "{what}: both");
            world.check_continuity(ANN);
            world.check_continuity(BOB);
        }
    }
}

#[test]
fn a_bridged_call_is_recorded_in_two_channels_and_its_packets_pass_untouched() {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcma)]);
    world.hum(ANN, 400);
    world.hum(BOB, 500);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.record(ANN, 1, Recorded::Split, 60);
    world.record(ANN, 2, Recorded::Mixed, 1);
    world.record(ANN, 3, Recorded::Heard, 60);
    world.run(1000);
    let announcement = Source::Tone(Tone::parse("700/1000").unwrap());
    world.play(SERVER, ANN, 4, announcement, true);
    world.run(2000);
    world.tell(SERVER, Command::StopRecorder { leg: ANN, recorder: 1 });
    world.tell(SERVER, Command::Close { leg: ANN });

    assert_eq!(hums(world.recorded(1, 0, 200, 1900)), [400], "what ann says");
    assert_eq!(hums(world.recorded(1, 1, 200, 900)), [500], "what ann hears");
    assert_eq!(hums(world.recorded(1, 1, 1200, 1900)), [500, 700], "and the announcement");
    assert_eq!(hums(world.recorded(2, 0, 200, 900)), [400, 500]);
    assert_eq!(hums(world.recorded(3, 0, 200, 1900)), [400]);
    assert_eq!(world.sent.recorded[&2][0].len(), 8000, "as long as it may be");
    assert_eq!(world.hears(ANN, 100, 1000), [500]);
    let done = |recorder, millis, end| {
        let recorded = Duration::from_millis(millis);
        Report::RecorderDone { leg: ANN, recorder, recorded, end }
    };
    let reports = &world.reports[SERVER];
    assert!(reports.contains(&done(2, 1000, PlayerEnd::Completed)), "{reports:?}");
    assert!(reports.contains(&done(1, 2000, PlayerEnd::Stopped)), "{reports:?}");
    assert!(reports.contains(&done(3, 2000, PlayerEnd::Stopped)), "{reports:?}");
}

#[test]
fn a_pause_is_not_in_the_recording() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.record(ANN, 1, Recorded::Heard, 60);
    world.run(500);
    for is_paused in [true, false] {
        world.tell(SERVER, Command::PauseRecorder { leg: ANN, recorder: 1, is_paused });
        world.run(world.now.as_millis() + 1000);
    }
    let recorded = world.sent.recorded[&1][0].len();
    assert_eq!(recorded, 1500 * 8, "half a second and a whole one");
}

#[test]
fn digits_in_the_sound_are_found_when_asked_for_and_events_win() {
    let mut world = World::new(&[(ANN, Codec::G722)]);
    let five = || Source::Tone(Tone::parse("770+1336/100,0/200").unwrap());
    world.play(PHONES, ANN, 1, five(), false);
    world.run(500);
    assert_eq!(digits_of(&world.reports[SERVER], ANN), "", "nobody asked");
    world.tell(SERVER, Command::FindDigits { leg: ANN, is_on: true });
    world.run(600);
    world.play(PHONES, ANN, 2, five(), false);
    world.run(1000);
    assert_eq!(digits_of(&world.reports[SERVER], ANN), "5");
    world.tell(PHONES, digits(ANN, "7"));
    world.run(1500);
    world.play(PHONES, ANN, 3, five(), false);
    world.run(2000);
    assert_eq!(digits_of(&world.reports[SERVER], ANN), "57", "a phone that sends events");
}

#[test]
fn a_voice_and_a_silence_are_told_once() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    let watch = |meter, loudness, millis| {
        let duration = Duration::from_millis(millis);
        Command::Watch { leg: ANN, meter, loudness, duration }
    };
    world.tell(SERVER, watch(1, Loudness::Above(0.02), 150));
    world.run(500);
    assert_eq!(world.reports[SERVER], []);
    world.hum(ANN, 400);
    world.run(1000);
    assert_eq!(world.reports[SERVER], [Report::Watched { leg: ANN, meter: 1 }]);
    world.tell(SERVER, watch(2, Loudness::Below(0.01), 300));
    world.run(1500);
    world.tell(PHONES, Command::StopAll { leg: ANN });
    world.run(1700);
    assert_eq!(world.reports[SERVER].len(), 1, "not silent for long enough");
    world.run(2200);
    assert_eq!(world.reports[SERVER][1], Report::Watched { leg: ANN, meter: 2 });
}

/// Where a codec has a memory, loss is concealed before the sound is encoded anew: whoever hears it
/// has one time line without a gap.
#[test]
fn between_a_wide_and_a_narrow_phone_loss_is_concealed() {
    let mut world = World::new(&[(ANN, Codec::G722), (BOB, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.hum(BOB, 500);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.run(1000);
    assert_eq!(world.hears(ANN, 500, 1000), [500]);
    assert_eq!(world.hears(BOB, 500, 1000), [400]);
    for leg in [ANN, BOB] {
        world.check_continuity(leg);
    }
    // The wire of this world loses on both sides; what is left of ten seconds is still the tone.
    world.loss_percent = 5;
    world.run(11_000);
    world.loss_percent = 0;
    assert_eq!(world.hears(ANN, 1000, 11_000), [500]);
    assert_eq!(world.hears(BOB, 1000, 11_000), [400]);
    for leg in [ANN, BOB] {
        world.tell(SERVER, Command::Close { leg });
    }
    let mut concealed = Vec::new();
    for report in &world.reports[SERVER] {
        if let Report::Closed { statistics, .. } = report {
            concealed.push(statistics.concealed.as_millis());
        }
    }
    assert_eq!(concealed.len(), 2);
    assert!(concealed.iter().all(|ms| (200..1200).contains(ms)), "{concealed:?} ms of 11 s");
}

/// A key that is pressed meanwhile is passed on as a press of our own, once.
#[test]
fn a_key_passes_between_a_wide_and_a_narrow_phone() {
    let mut world = World::new(&[(ANN, Codec::G722), (BOB, Codec::Pcma)]);
    world.hum(ANN, 400);
    world.hum(BOB, 500);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.run(500);
    world.tell(PHONES, digits(ANN, "7"));
    world.run(1500);
    assert_eq!(digits_of(&world.reports[PHONES], BOB), "7");
    world.check_continuity(BOB);
    // Bob's phone turns to the codec of Ann's: packets pass as they are again.
    for side in [SERVER, PHONES] {
        let stream = stream(side, BOB, Codec::G722);
        world.tell(side, Command::Configure { leg: BOB, stream });
    }
    world.run(2500);
    assert_eq!(world.hears(ANN, 2000, 2500), [500]);
    assert_eq!(world.hears(BOB, 2000, 2500), [400]);
    world.check_continuity(ANN);
}
