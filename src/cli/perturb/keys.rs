//! `lwt perturb keys`: a pair of keys.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context;

use crate::perturb::keys::{hex, secret};

/// Makes a pair of keys: the secret one, with which a plan signs, goes to a file that only you can read; the public one,
/// which agents trust (perturb.trusted), is printed.
#[derive(clap::Args)]
#[command(after_help = "Example:
  lwt perturb keys /etc/lwt/perturb.key >> trusted.keys")]
pub struct Args {
    /// The file to be made; one that is there is not written over.
    file: PathBuf,
}

impl Args {
    /// Runs the command.
    ///
    /// # Errors
    /// A file that is there, or cannot be made.
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut bytes = [0; 32];
        let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
        random.context("cannot read /dev/urandom")?;
        let text = hex(&bytes);
        let public = hex(secret(&text)?.verifying_key().as_bytes());
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.file);
        let written = made.and_then(|mut file| writeln!(file, "{text}").and_then(|()| file.sync_all()));
        written.with_context(|| format!("cannot make {}", self.file.display()))?;
        Ok(writeln!(out, "{public}")?)
    }
}
