//! Words that claim to be a record: a header survives the trip through words, a ring hands out what it was given, and
//! encoding anything at all writes a message or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::encode::Encoder;
use raven_core::record::{Header, HEADER_WORDS};
use raven_core::ring::{ring, Read};

fuzz_target!(|data: &[u8]| {
    let words: Vec<u64> = data
        .chunks(8)
        .map(|chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(bytes)
        })
        .take(400)
        .collect();
    let mut out = vec![7];
    for depth in [0, 1, 20] {
        out.truncate(1);
        let is_written = Encoder::new("v", "S", 0, "p").encode(&words, depth, &mut out);
        assert!(is_written == (out.len() > 1) && out[0] == 7);
    }
    let Some(header) = Header::from_words(&words) else { return };
    let body = &words[HEADER_WORDS..];
    assert_eq!(Header::from_words(&header.to_words(words.len())), Some(header));
    let (mut writer, ring) = ring(1024);
    let mut cursor = ring.cursor_at_end();
    let mut read = Vec::new();
    for sequence in 1..=3 {
        assert_eq!(writer.publish(&header, body), sequence);
        assert_eq!(ring.read(&mut cursor, &mut read), Read::Record);
        let returned = Header::from_words(&read).expect("a record");
        assert_eq!(returned, Header { sequence, ..header });
        assert_eq!(&read[HEADER_WORDS..], body);
    }
    assert_eq!(ring.read(&mut cursor, &mut read), Read::Empty);
});
