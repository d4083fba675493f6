//! Decimals: the quick paths agree with the slow one, and what is read is written back to the same number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::parse::decimal::{read, read_alike, read_quoted, read_u64, write, DecimalError, Shape};

fuzz_target!(|data: &[u8]| {
    let Some((scale, text)) = data.split_first() else { return };
    let scale = scale % 19;
    let number = text.split(|byte| *byte == b'"').next().unwrap_or_default();
    let slow = read(number, scale);
    let with_room = [number, b"\",\"0.00000000\"],[\"1\""].concat();
    let near_end = [number, b"\""].concat();
    let mut shape = Shape::default();
    for quoted in [&with_room, &near_end] {
        let expected = slow.map(|value| (value, number.len()));
        assert_eq!(read_quoted(quoted, 0, scale), expected);
        // The second time the shape is known.
        assert_eq!(read_alike(quoted, 0, scale, &mut shape), expected);
        assert_eq!(read_alike(quoted, 0, scale, &mut shape), expected);
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
