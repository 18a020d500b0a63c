//! A backup as a folder: for each stream its bytes, as the broker copies them, and beside them what
//! the broker says of it.

use std::fs::{self, DirBuilder, File};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::Context;
use fanfare_nats::Broker;

use crate::exit::Failure;

/// Copies all streams, in the order that makes the copies fit.
pub(super) async fn save(broker: &Broker, folder: &Path) -> Result<(), Failure> {
    let shown = folder.display();
    // Devices have tokens: nobody else may look in.
    let made = DirBuilder::new().mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the folder {shown}"))?;
    for name in broker.backup_order() {
        let path = folder.join(format!("{name}.tar.s2"));
        let cannot = || format!("cannot write {}", path.display());
        let mut file = BufWriter::new(File::create_new(&path).with_context(cannot)?);
        let about = broker.back_up(&name, &mut file).await;
        let about = about.with_context(|| format!("{shown} is not complete: remove it"))?;
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        file.and_then(|it| it.sync_all()).with_context(cannot)?;
        let told = serde_json::to_vec_pretty(&about).context("what it says is no JSON")?;
        let path = folder.join(format!("{name}.json"));
        let mut file = File::create_new(&path).with_context(cannot)?;
        file.write_all(&told)
            .and_then(|()| file.sync_all())
            .with_context(cannot)?;
        tell(&name, &about);
    }
    println!("{shown} is complete");
    Ok(())
}

/// Makes all streams from their copies.
pub(super) async fn load(broker: &Broker, folder: &Path) -> Result<(), Failure> {
    for name in broker.backup_order() {
        let path = folder.join(format!("{name}.json"));
        let cannot = || format!("cannot read {}", path.display());
        let about = fs::read(&path).with_context(cannot)?;
        let about = serde_json::from_slice(&about).with_context(cannot)?;
        let path = folder.join(format!("{name}.tar.s2"));
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut file = BufReader::new(file);
        let restored = broker.restore(&name, &about, &mut file).await;
        restored.with_context(|| {
            format!("{name} is not restored: every stream must be absent; those before are there")
        })?;
        tell(&name, &about);
    }
    Ok(())
}

fn tell(name: &str, about: &serde_json::Value) {
    let n = about
        .pointer("/state/messages")
        .and_then(serde_json::Value::as_u64);
    println!("{name}: {} messages", n.unwrap_or(0));
}
