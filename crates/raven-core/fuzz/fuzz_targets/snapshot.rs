//! REST depth answers: whatever comes, the book is either replaced whole or not touched, and never crossed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raven_core::engine::{answer, Engine, EngineConfig};
use raven_core::hub::Hub;
use raven_core::parse::event::Scales;
use raven_core::sequence::Rule;

fuzz_target!(|data: &[u8]| {
    let mut engine = Engine::new(Hub::new(), EngineConfig::default());
    let venue = engine.add_venue("fuzz", Rule::Spot);
    let scales = Scales { price: 0, quantity: 0 };
    let number = engine.add_instrument(venue, "BTCUSDT", scales, 1 << 14, true).expect("added");
    for body in data.split(|byte| *byte == b'\n') {
        let before = canonical(&engine, number);
        let was_waiting = engine.instrument(number).expect("there").waits_for_snapshot();
        let bits = engine.on_snapshot(number, 1, body, 5);
        let after = canonical(&engine, number);
        assert!(bits & answer::PUBLISHED == 0 || was_waiting, "a book in sync was replaced");
        assert!(bits & answer::PUBLISHED != 0 || before == after || was_waiting, "a refused answer changed the book");
        let book = engine.instrument(number).expect("there").book();
        assert!(bits & answer::PUBLISHED == 0 || !book.is_crossed());
        assert_eq!(book.bids().len(), book.bids().iter().count());
        engine.with_instrument(number, |instrument, words| instrument.desync("requested", 1, words));
    }
});

fn canonical(engine: &Engine, number: u32) -> Vec<u8> {
    let mut text = Vec::new();
    engine.instrument(number).expect("there").book().canonical(0, &mut text);
    text
}
