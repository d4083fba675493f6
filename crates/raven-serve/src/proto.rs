//! What `build.rs` generated from `proto/`.

/// Messages and clients of package `raven`.
#[allow(missing_docs, clippy::all)]
pub mod raven {
    tonic::include_proto!("raven");
}

/// The serialized `FileDescriptorSet` of package `raven`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
