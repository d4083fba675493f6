//! Decimals: the quick paths agree with the slow one, and what is read is written back to the same number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::parse::decimal::{read, read_quoted, read_u64, write, DecimalError};
use raven_core::parse::event::Scales;
use raven_core::parse::levels::levels;
use raven_core::parse::scan::Scanner;

fuzz_target!(|data: &[u8]| {
    let Some((scale, text)) = data.split_first() else { return };
    let scale = scale % 19;
    let number = text.split(|byte| *byte == b'"').next().unwrap_or_default();
    let slow = read(number, scale);
    let with_room = [number, b"\",\"0.00000000\"],[\"1\""].concat();
    let near_end = [number, b"\""].concat();
    for quoted in [&with_room, &near_end] {
        let expected = slow.map(|value| (value, number.len()));
        assert_eq!(read_quoted(quoted, 0, scale), expected);
    }
    // A level that looks like the one before, or nearly so, is read like one that stands alone.
    let price = "61800.20".as_bytes();
    for known in [price, number] {
        let array = [b"[[\"", known, b"\",\"1.5\"],[\"", number, b"\",\"12.5\"]]                        "].concat();
        let scales = Scales { price: scale.max(2), quantity: 1 };
        let mut levels_read = Vec::new();
        let result = levels(&mut Scanner::new(&array, 0), scales, &mut levels_read);
        let expected = read(known, scales.price).and(read(number, scales.price));
        assert_eq!(result.is_ok(), expected.is_ok_and(|value| value != 0));
        if result.is_ok() {
            assert_eq!((levels_read[1].price, levels_read[1].quantity), (expected.expect("sound"), 125));
        }
    }
    match slow {
        Ok(value) => {
            let mut written = Vec::new();
            write(&mut written, value, scale);
            assert_eq!(read(&written, scale), Ok(value));
            assert!(!written.contains(&b'.') || written.last() != Some(&b'0'), "the shortest text");
        }
        Err(DecimalError::NeedsScale(needed)) => {
            assert!(needed != scale && read(number, needed).is_ok(), "the scale asked for is the one that fits");
        }
        Err(_) => {}
    }
    if let Some((value, end)) = read_u64(text, 0) {
        let digits = std::str::from_utf8(&text[..end]).expect("ascii");
        assert_eq!(digits.parse(), Ok(value));
        assert!(value <= i64::MAX as u64 && !text.get(end).is_some_and(u8::is_ascii_digit));
    }
});
