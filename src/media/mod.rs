//! Media: one leg's audio, stepped every 20 ms: RTP, digits, prompts, tones, mixing, bridges; no SIP, no SDP.
