//! Turns the committed artefacts of `contracts/` into the bytes that `src/artefacts.rs` includes.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=artefacts");
    let output = env::var("OUT_DIR")?;
    for entry in fs::read_dir("artefacts")? {
        let path = entry?.path();
        println!("cargo::rerun-if-changed={}", path.display());
        let artefact: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("an artefact without a name")?;
        for (field, suffix) in [("bytecode", "creation"), ("deployedBytecode", "runtime")] {
            let text =
                artefact.get(field).and_then(serde_json::Value::as_str).ok_or("an artefact without code")?;
            let bytes = hex::decode(text.trim_start_matches("0x"))?;
            fs::write(Path::new(&output).join(format!("{name}.{suffix}")), bytes)?;
        }
    }
    Ok(())
}
