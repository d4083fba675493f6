//! Compiles `proto/` without a system `protoc`: types for tests and clients, and the descriptors that reflection serves.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["market_data.proto", "subscription.proto", "control.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={}", proto.join(file).display());
    }
    let descriptors = protox::compile(files, [&proto])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
