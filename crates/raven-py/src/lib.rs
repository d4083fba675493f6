//! The Python face of Raven's engine and server, `raven._core`: conversions only.
//!
//! What each class means is said in `src/raven/_core.pyi`; the rules live in `raven-core` and `raven-serve`.

mod bars;
mod collector;
mod encoded;
mod engine;
mod hub;
mod inlet;
mod receiver;
mod record;
mod redis;
mod server;
mod shm;
mod tap;

use pyo3::prelude::*;
use raven_core::engine::answer;
use raven_core::reject::Reason;

/// The native core.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("EVENTS_PENDING", answer::EVENTS_PENDING)?;
    module.add("PUBLISHED", answer::PUBLISHED)?;
    module.add("REJECTED", answer::REJECTED)?;
    module.add("BUFFERED", answer::BUFFERED)?;
    module.add("IGNORED", answer::IGNORED)?;
    module.add("REJECT_REASONS", Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>())?;
    module
        .add("REJECT_EXPLANATIONS", Reason::ALL.iter().map(|reason| reason.explanation().trim()).collect::<Vec<_>>())?;
    module.add_class::<bars::BarSpec>()?;
    module.add_class::<bars::BarBuilder>()?;
    module.add_class::<bars::LiveBars>()?;
    module.add_function(wrap_pyfunction!(bars::scale_of_doubles, module)?)?;
    module.add_function(wrap_pyfunction!(bars::scale_that_fits, module)?)?;
    module.add_function(wrap_pyfunction!(bars::decimals_of_wide, module)?)?;
    module.add_function(wrap_pyfunction!(bars::sides_of_texts, module)?)?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<server::GrpcServer>()?;
    module.add_class::<server::Call>()?;
    module.add_class::<collector::Collector>()?;
    module.add_class::<encoded::Encoded>()?;
    module.add_class::<hub::Hub>()?;
    module.add_class::<hub::Reader>()?;
    module.add_class::<hub::Writer>()?;
    module.add_class::<inlet::Inlet>()?;
    module.add_class::<receiver::Receiver>()?;
    module.add_class::<redis::RedisFeed>()?;
    module.add_class::<shm::SharedMemory>()?;
    module.add_class::<shm::SharedReader>()?;
    module.add_class::<shm::SharedTopic>()?;
    module.add_class::<tap::Tap>()?;
    module.add_class::<record::Record>()
}
