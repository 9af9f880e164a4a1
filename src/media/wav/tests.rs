//! WAV files of every kind that is read, and of several that are not.

use std::io::Cursor;

use hound::{WavSpec, WavWriter};
use proptest::prelude::*;

use super::*;
use crate::media::Codec;
use crate::media::{Clip, ear};

/// A second of 440 Hz at half scale, as hound writes it.
fn hum(rate: u32, channels: u16, bits_per_sample: u16, sample_format: SampleFormat) -> Vec<u8> {
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample, sample_format };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for frame in 0..rate {
        let turn = std::f64::consts::TAU * 440.0 / f64::from(rate);
        let sample = 0.5 * (turn * f64::from(frame)).sin();
        for _ in 0..channels {
            match sample_format {
                SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                SampleFormat::Int => {
                    let scale = f64::from(bits_per_sample - 1).exp2();
                    writer.write_sample((sample * scale) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// A file with the chunks given, by name and body.
fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, body) in chunks {
        bytes.extend_from_slice(*name);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&[0][..body.len() % 2]);
    }
    bytes
}

fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let [low, high] = [rate as u16, (rate >> 16) as u16];
    let align = channels * (bits / 8);
    [tag, channels, low, high, 0, 0, align, bits].iter().flat_map(|h| h.to_le_bytes()).collect()
}

#[test]
fn every_linear_format_is_heard_alike() {
    for rate in [8000, 16_000, 22_050, 44_100, 48_000] {
        for (bits, kind) in [
            (8, SampleFormat::Int),
            (16, SampleFormat::Int),
            (24, SampleFormat::Int),
            (32, SampleFormat::Int),
            (32, SampleFormat::Float),
        ] {
            for channels in [1, 2] {
                let clip = Clip::from_wav(&hum(rate, channels, bits, kind)).unwrap();
                let (level, samples) = (ear::level(clip.samples()), clip.samples());
                let tone = ear::dominant(samples, &[430.0, 440.0, 450.0]);
                let what = format!("{bits}-bit {kind:?}, {channels} channels at {rate}");
                assert_eq!((tone, samples.len()), (Some(440.0), 8000), "{what}");
                assert!((level + 2.88).abs() < 0.15, "{what}: {level} dBm0");
            }
        }
    }
}

#[test]
fn both_laws_of_g711_are_read_and_odd_chunks_passed_over() {
    for (tag, codec) in [(TAG_ALAW, Codec::Pcma), (TAG_MULAW, Codec::Pcmu)] {
        let linear: Vec<i16> = (0..800).map(|n| (n % 40 - 20) * 500).collect();
        let mut sound = vec![0; 800];
        codec.encode(&linear, &mut sound);
        let format = format(tag, 1, 8000, 8);
        let file = riff(&[(b"LIST", b"odd"), (b"fmt ", &format), (b"data", &sound)]);
        let clip = Clip::from_wav(&file).unwrap();
        assert_eq!(clip.encoded(codec), Some(sound.as_slice()));
    }
}

#[test]
fn a_file_streamed_into_a_pipe_ends_where_it_ends() {
    let mut bytes = hum(8000, 1, 16, SampleFormat::Int);
    for at in (4..8).chain(40..44) {
        bytes[at] = 0xFF;
    }
    bytes.push(0);
    assert_eq!(Clip::from_wav(&bytes).unwrap().samples().len(), 8000);
}

#[test]
fn what_is_wrong_is_said() {
    let error = |bytes: &[u8]| Clip::from_wav(bytes).expect_err("a bad file");
    let of = |format: &[u8], data: &[u8]| riff(&[(b"fmt ", format), (b"data", data)]);
    assert_eq!(error(b"ID3\x04and so on"), ClipError::NotWav);
    assert_eq!(error(&riff(&[(b"data", &[0; 8])])), ClipError::Damaged);
    assert_eq!(error(&of(&format(0x55, 1, 8000, 16), &[0; 8])), ClipError::Format { tag: 0x55 });
    assert_eq!(error(&of(&format(6, 1, 8000, 16), &[0; 8])), ClipError::Bits { bits: 16 });
    assert_eq!(error(&of(&format(7, 0, 8000, 8), &[0; 8])), ClipError::Damaged);
    assert_eq!(error(&of(&format(7, 1, 999, 8), &[0; 8])), ClipError::Rate { rate: 999 });
    assert_eq!(error(&of(&format(7, 1, 8000, 8), &[])), ClipError::Empty);
    assert_eq!(error(&of(&format(7, 1, 8000, 8), &vec![0; 4_800_001])), ClipError::TooLong);
    assert_eq!(error(&hum(8000, 1, 16, SampleFormat::Int)[..9000]), ClipError::Damaged);
    assert!(error(b"").to_string().contains("ffmpeg"), "the remedy is named");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Clip::from_wav(&bytes);
        let _ = Clip::from_wav(&[b"RIFF\0\0\0\0WAVEfmt ", bytes.as_slice()].concat());
    }

    #[test]
    fn no_damage_panics(at in 0..60_usize, byte: u8, length in 0..120_usize) {
        let mut bytes = hum(4000, 2, 24, SampleFormat::Int);
        bytes[at] = byte;
        let _ = Clip::from_wav(&bytes[..length.max(at + 1)]);
    }
}
